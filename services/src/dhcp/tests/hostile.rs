//! Whatever arrives: no panic, few frames, and no address that was not granted properly.

use proptest::prelude::*;

use super::server::{Mood, framed};
use super::*;

/// What somebody on the link may do.
#[derive(Clone, Debug)]
enum Act {
    /// Any bytes.
    Noise(Vec<u8>),
    /// A message of the right transaction, with these options behind the fixed part.
    Message {
        opcode: u8,
        address: [u8; 4],
        options: Vec<(u8, Vec<u8>)>,
        tail: Vec<u8>,
    },
    /// A proper answer, one byte of it changed.
    Damaged {
        kind: u8,
        at: usize,
        to: u8,
    },
    /// A proper answer.
    Answer {
        kind: u8,
        lease: u32,
    },
    Arp {
        sender: [u8; 6],
        sender_ip: bool,
    },
    Later(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let code =
        prop_oneof![Just(53_u8), Just(54), Just(51), Just(1), Just(121), Just(52), Just(15), any::<u8>()];
    let option = (code, prop::collection::vec(any::<u8>(), 0..12));
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Act::Noise),
        (
            any::<u8>(),
            any::<[u8; 4]>(),
            prop::collection::vec(option, 0..12),
            prop::collection::vec(any::<u8>(), 0..4)
        )
            .prop_map(|(opcode, address, options, tail)| Act::Message {
                opcode,
                address,
                options,
                tail
            }),
        (2_u8..7, any::<usize>(), any::<u8>()).prop_map(|(kind, at, to)| Act::Damaged { kind, at, to }),
        (prop_oneof![Just(2_u8), Just(5), Just(6)], prop_oneof![0_u32..200, any::<u32>()])
            .prop_map(|(kind, lease)| Act::Answer { kind, lease }),
        (any::<[u8; 6]>(), any::<bool>()).prop_map(|(sender, sender_ip)| Act::Arp { sender, sender_ip }),
        (0_u64..100_000).prop_map(Act::Later),
    ]
}

impl Act {
    fn frame(&self, xid: u32) -> Vec<u8> {
        match self {
            Self::Noise(bytes) => bytes.clone(),
            Self::Message { opcode, address, options, tail } => {
                let mut message = Server::granting(600).message(Kind::Ack, xid);
                message.truncate(240);
                message[0] = *opcode % 3;
                message[16..20].copy_from_slice(address);
                for (code, content) in options {
                    message.extend([*code, u8::try_from(content.len()).unwrap()]);
                    message.extend(content);
                }
                message.extend(tail);
                framed(&message)
            }
            Self::Damaged { kind, at, to } => {
                let mut frame = Server::granting(600).frame(Kind::from(*kind), xid);
                let length = frame.len();
                frame[at % length] = *to;
                frame
            }
            Self::Answer { kind, lease } => Server::granting(*lease).frame(Kind::from(*kind), xid),
            Self::Arp { sender, sender_ip } => {
                let ip = if *sender_ip { ADDRESS } else { Ipv4Addr::UNSPECIFIED };
                vswitch_wire::build::arp(1, MacAddr(*sender), ip, MacAddr::ZERO, ADDRESS)
            }
            Self::Later(_) => Vec::new(),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_and_any_answers_are_survived(acts in prop::collection::vec(act(), 0..60), seed: u64) {
        let mut world = World::new(Server { mood: Mood::Silent, ..Server::granting(600) });
        world.client = DhcpClient::new(MAC, None, seed);
        for act in acts {
            world.run_until(u64::from(world.now.seconds()) + u64::from(matches!(act, Act::Answer { .. })));
            if let Act::Later(seconds) = act {
                world.run_until(u64::from(world.now.seconds()) + seconds % 1000);
            }
            let xid = world.xid();
            world.client.receive(&act.frame(xid), world.now);
        }
        // Used only what was granted, and never lost what was not ours.
        let mut ours = false;
        for (at, event) in &world.events {
            match event {
                DhcpEvent::Bound(lease) => {
                    prop_assert!(lease.expires.is_none_or(|end| end > *at));
                    prop_assert!(lease.address.prefix_len() > 0 && !lease.address.addr().is_multicast());
                    ours = true;
                }
                DhcpEvent::Lost => {
                    prop_assert!(ours);
                    ours = false;
                }
            }
        }
        if let Some(due) = world.client.next_poll() {
            world.run_until(u64::from(due.seconds()) + 1);
        }
    }

    /// A host on the link that answers everything at once, and the worst way, keeps nobody busy.
    #[test]
    fn the_link_is_left_in_peace(kinds in prop::collection::vec(0_u8..7, 1..40), lease in 0_u32..60) {
        let mut world = World::new(Server { mood: Mood::Silent, ..Server::granting(lease) });
        let mut nth = 0;
        while world.now < Time::from_secs(600) {
            let due = world.client.next_poll().unwrap_or(Time::from_secs(600));
            world.now = world.now.max(due);
            world.poll();
            let xid = world.xid();
            // As often as the client does anything, it is answered seven times.
            for _ in 0..7 {
                let kind = kinds[nth % kinds.len()];
                nth += 1;
                let frame = Server::granting(lease).frame(Kind::from(kind.max(2)), xid);
                world.client.receive(&frame, world.now);
            }
        }
        prop_assert!(world.sent.len() < 600 * 2, "{} frames in ten minutes", world.sent.len());
    }
}
