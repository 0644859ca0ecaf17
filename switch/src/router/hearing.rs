//! What a network's gateway hears on its network: it answers what it can, and notes who lives where.

use vswitch_wire::Parsed;

use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::gateway::limit::ReplyLimit;
use crate::gateway::{self, Outcome, Sight};
use crate::id::NetworkId;
use crate::neighbor::Held;
use crate::router::Router;
use crate::tables::Gateway;
use crate::time::Time;

/// What the gateway needs to hear a frame.
#[derive(Debug)]
pub struct GatewayStage<'a> {
    /// What all gateways share.
    pub router: &'a Router,
    /// The network that is heard.
    pub network: NetworkId,
    /// How often it may still answer the port the frame came from.
    pub replies: &'a mut ReplyLimit,
    /// Where an answer is written.
    pub reply: &'a mut Frame,
    /// Where frames are added that waited for the address heard.
    pub again: &'a mut Vec<Held>,
}

impl GatewayStage<'_> {
    /// Hears a frame for the gateway or for all. Answers whether it ends here, with `reply` written if there is one.
    ///
    /// # Errors
    /// Why the gateway dropped it.
    pub fn hear(
        &mut self,
        gateway: &Gateway,
        icc: bool,
        frame: &[u8],
        parsed: &Parsed,
        now: Time,
    ) -> Result<bool, DropReason> {
        let answer = gateway::answer(gateway, icc, frame, parsed, self.reply);
        if let Some(sight) = answer.sight {
            self.note(&sight, now);
        }
        if !matches!(answer.outcome, Outcome::Reply(_)) {
            self.reply.clear();
        }
        match answer.outcome {
            Outcome::Reply(kind) => match self.replies.admit(kind, now) {
                Ok(()) => Ok(true),
                Err(reason) => {
                    self.reply.clear();
                    Err(reason)
                }
            },
            Outcome::Consumed => Ok(true),
            Outcome::Pass => Ok(false),
            Outcome::Drop(reason) => Err(reason),
        }
    }

    fn note(&mut self, Sight { address, mac, what }: &Sight, now: Time) {
        let (network, again) = (self.network, &mut *self.again);
        self.router.neighbors(|neighbors| neighbors.heard(network, *address, *mac, *what, now, again));
    }
}
