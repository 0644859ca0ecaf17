//! What a network's gateway answers itself.
//!
//! [`answer`] looks at a frame before it is bridged. It takes what is said to the gateway or asked of it — ARP, neighbour
//! and router solicitations, echoes — and, since it knows the configured hosts, it answers for them too, so that
//! questions are not copied to every port. Everything else passes: packets for the gateway's MAC address are to be
//! routed, all other frames to be bridged.
//!
//! Replies are written into a frame the caller lends; nothing is allocated, nothing kept. What a frame told about
//! its sender's address comes back as a [`Sight`], for the caller's neighbour cache. How often is answered limits
//! [`limit`]. [`announce`], [`advertise`], [`icmp_error`] and [`reset`] write what the gateway says unasked, or when
//! a packet cannot go on.
//!
//! Frames the guard would refuse do not get here. Even so, nothing that comes in is trusted: a message that is not
//! valid makes no sight and no reply, and whoever claims one of the gateway's addresses is told whose it is.

pub mod advertise;
pub mod announce;
mod arp;
mod compose;
mod discovery;
pub mod echo;
pub mod icmp_error;
pub mod limit;
pub mod reset;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use vswitch_wire::{IcmpHeader, Layer3, MacAddr, Parsed, protocol};

use self::limit::ReplyKind;
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::neighbor::Sighting;
use crate::tables::{Gateway, Host};

/// What the gateway made of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What becomes of the frame.
    pub outcome: Outcome,
    /// What it told about its sender.
    pub sight: Option<Sight>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It ends here, and the reply is to be sent to where it came from, if that is within the limit.
    Reply(ReplyKind),
    /// It goes on: to be routed when it is for the gateway's MAC address, else to be bridged.
    Pass,
    /// It was for the gateway, which took note of it.
    Consumed,
    /// It ends here.
    Drop(DropReason),
}

/// What a frame told about where an address lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sight {
    /// The address.
    pub address: IpAddr,
    /// The MAC address it is said to have.
    pub mac: MacAddr,
    /// In what kind of message.
    pub what: Sighting,
}

impl Outcome {
    /// The answer without a sight.
    fn only(self) -> Answer {
        Answer { outcome: self, sight: None }
    }
}

/// Answers a frame that arrived on the gateway's network, if it is the gateway's to answer. `icc` says whether the
/// network's members may reach each other. `reply` holds a frame when the outcome is [`Outcome::Reply`]; otherwise
/// its content has no meaning.
pub fn answer(gateway: &Gateway, icc: bool, bytes: &[u8], parsed: &Parsed, reply: &mut Frame) -> Answer {
    let headers = &parsed.headers;
    let for_us = headers.destination == gateway.mac;
    if !for_us && !headers.destination.is_multicast() {
        return Outcome::Pass.only();
    }
    if headers.tag().is_some() || headers.ethertype.is_tag() {
        let outcome = if for_us { Outcome::Drop(DropReason::TaggedToGateway) } else { Outcome::Pass };
        return outcome.only();
    }
    match (headers.layer3, headers.protocol) {
        (Layer3::ARP, _) => arp::answer(gateway, icc, bytes, parsed, reply),
        (Layer3::IPV6, protocol::ICMPV6) if icmp_kind(parsed) != IcmpHeader::ECHO_REQUEST_V6 => {
            discovery::answer(gateway, icc, bytes, parsed, reply)
        }
        (Layer3::IPV4 | Layer3::IPV6, _) if for_us => {
            let own = headers.destination_address().is_some_and(|address| gateway.owns(address));
            if own { echo::answer(bytes, parsed, reply).only() } else { Outcome::Pass.only() }
        }
        (Layer3::IPV4 | Layer3::IPV6, _) => Outcome::Pass.only(),
        _ if for_us => Outcome::Drop(DropReason::GatewayProtocol).only(),
        _ => Outcome::Pass.only(),
    }
}

/// The type of an ICMP message of either version; in later fragments, which do not show it, 0.
fn icmp_kind(parsed: &Parsed) -> u8 {
    let [kind, _] = parsed.headers.destination_port.to_be_bytes();
    kind
}

/// The packet's ICMP message, as far as it is whole.
fn message<'a>(bytes: &'a [u8], parsed: &Parsed) -> &'a [u8] {
    bytes.get(usize::from(parsed.layer4_offset)..parsed.layer3_end as usize).unwrap_or_default()
}

/// Whether one host can have this address and be answered (RFC 1122 §3.2.1.3, RFC 1812 §5.3.7, RFC 4443 §2.4 e.6).
pub fn is_answerable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            // 240.0.0.0/4 is reserved and ends with the limited broadcast address.
            first != 0 && !address.is_loopback() && !address.is_multicast() && first < 240
        }
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_loopback() && !address.is_multicast(),
    }
}

impl Gateway {
    /// Whether `address` is the gateway's own, the link-local one that follows from its MAC address included.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.addr() == address) || address == IpAddr::V6(self.mac.link_local())
    }

    /// Whether the gateway says that `address` is at its MAC address.
    pub fn speaks_for(&self, address: IpAddr) -> bool {
        self.owns(address) || self.answers_for.contains(&address)
    }

    /// Whether `address` lives on the gateway's network: within a subnet, or IPv6 link-local.
    pub fn on_link(&self, address: IpAddr) -> bool {
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        link_local || self.addresses.iter().any(|own| own.contains(&address))
    }

    /// Whether a packet to `address` is for every station: the broadcast address of a subnet, or the network
    /// address, which was one once (RFC 1812 §5.3.5).
    pub fn is_subnet_broadcast(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| match own {
            // Subnets of one or two addresses have neither (RFC 3021).
            IpNet::V4(own) => {
                own.prefix_len() < 31 && (own.broadcast() == address || own.network() == address)
            }
            IpNet::V6(_) => false,
        })
    }

    /// The address its IPv4 packets come from; none without an IPv4 subnet.
    pub fn source_v4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|own| match own {
            IpNet::V4(own) => Some(own.addr()),
            IpNet::V6(_) => None,
        })
    }

    /// The address its IPv6 packets come from: the link-local one without an IPv6 subnet.
    pub fn source_v6(&self) -> Ipv6Addr {
        let configured = self.addresses.iter().find_map(|own| match own {
            IpNet::V6(own) => Some(own.addr()),
            IpNet::V4(_) => None,
        });
        configured.unwrap_or_else(|| self.mac.link_local())
    }

    /// What `mac` saying that it has `address` is worth: nothing from outside the network's subnets, of the gateway's own
    /// addresses or of configured hosts, whose MAC addresses are known better.
    fn sight(&self, address: IpAddr, mac: MacAddr, what: Sighting) -> Option<Sight> {
        let nobodys = matches!(address, IpAddr::V4(address) if self.is_subnet_broadcast(address));
        let known = self.speaks_for(address) || self.hosts.contains_key(&address);
        let worth = self.on_link(address) && !nobodys && !known;
        worth.then_some(Sight { address, mac, what })
    }

    /// The host on whose behalf `asker` is answered when it asks everybody for `address`.
    fn known_host(&self, address: IpAddr, asker: MacAddr) -> Option<&Host> {
        self.hosts.get(&address).filter(|host| host.mac != asker)
    }
}
