//! Whole lives of leases under virtual time, against a server made with smoltcp's codec.

mod hostile;
mod life;
mod server;
mod terms;

use std::net::Ipv4Addr;
use std::time::Duration;

use smoltcp::wire::{DhcpMessageType as Kind, EthernetFrame, EthernetProtocol};
use vswitch_switch::Time;
use vswitch_wire::MacAddr;

use self::server::{Asked, Server};
use super::{DhcpClient, DhcpEvent, Lease};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xc]);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x5]);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// A client and a server on one link, and a clock that jumps from one deadline to the next.
struct World {
    client: DhcpClient,
    server: Server,
    now: Time,
    /// Every frame the client sent, with its moment.
    sent: Vec<(Time, Vec<u8>)>,
    events: Vec<(Time, DhcpEvent)>,
    /// Answers every ARP probe as a host that has the address already.
    squatter: Option<MacAddr>,
}

impl World {
    fn new(server: Server) -> Self {
        let client = DhcpClient::new(MAC, Some("gateway".to_owned()), 7);
        Self { client, server, now: Time::default(), sent: Vec::new(), events: Vec::new(), squatter: None }
    }

    /// Lets the world go on until this second, whatever happens in it.
    fn run_until(&mut self, second: u64) {
        let end = Time::from_secs(second);
        while let Some(due) = self.client.next_poll().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.poll();
        }
        self.now = end;
    }

    fn poll(&mut self) {
        let mut sent = Vec::new();
        let event = self.client.poll(self.now, |frame| sent.push(frame.to_vec()));
        self.events.extend(event.map(|event| (self.now, event)));
        for frame in sent {
            let answers = self.server.answer(&frame).into_iter().chain(self.objection(&frame));
            for answer in answers.collect::<Vec<_>>() {
                self.client.receive(&answer, self.now);
            }
            self.sent.push((self.now, frame));
        }
    }

    fn objection(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let squatter = self.squatter?;
        // Whoever feeds the client lets ARP through for this address only, and only now.
        let probed = arp_target(frame).filter(|target| self.client.probed() == Some(*target))?;
        Some(vswitch_wire::build::arp(vswitch_wire::ArpPacket::REPLY, squatter, probed, MAC, probed))
    }

    /// What the client asked servers, with the moments in whole seconds.
    fn asked(&self) -> Vec<(u32, Asked)> {
        let asked = self.sent.iter().filter_map(|(at, frame)| Some((at.seconds(), Asked::read(frame)?)));
        asked.collect()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.asked().into_iter().map(|(_, asked)| asked.kind).collect()
    }

    /// The number of the last transaction.
    fn xid(&self) -> u32 {
        self.sent.iter().rev().find_map(|(_, frame)| Asked::read(frame)).map_or(0, |asked| asked.xid)
    }

    /// The lease of the last event.
    fn lease(&self) -> &Lease {
        match self.events.last() {
            Some((_, DhcpEvent::Bound(lease))) => lease,
            other => panic!("no lease: {other:?}"),
        }
    }
}

/// What an ARP packet asks for.
fn arp_target(frame: &[u8]) -> Option<Ipv4Addr> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    (frame.ethertype() == EthernetProtocol::Arp).then_some(())?;
    let packet = smoltcp::wire::ArpPacket::new_checked(frame.payload()).ok()?;
    Ipv4Addr::from_octets(packet.target_protocol_addr().try_into().ok()?).into()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
