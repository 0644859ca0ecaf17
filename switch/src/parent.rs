//! Networks that live on a parent: macvlan and ipvlan, in userspace.
//!
//! # Theory of operation
//! Such a network is a part of the LAN its parent interface is on, not one of its own. Its bridge domain has three kinds
//! of ports: the wire, which leads to the LAN; the host, which leads to the host's own stack on the same interface; and
//! the members. Nothing is learned: every station that lives here is configured, and whoever else there is lives on the
//! wire. Host and wire reach each other without us, so nothing is passed between them.
//!
//! With macvlan each member has a MAC address of its own; the [`Mode`] says whether members reach each other. With
//! ipvlan ([`Mode::Shared`]) all have the parent's, and are told apart by their IP addresses.
//!
//! Unlike the kernel's drivers, host and members reach each other in every mode.

use std::collections::HashMap;
use std::net::IpAddr;

use vswitch_wire::{Headers, MacAddr};

use crate::drop_reason::DropReason;
use crate::id::PortId;
use crate::tables::Network;
use crate::verdict::Verdict;

/// What a network on a parent has that a bridge has not.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Leads to the LAN.
    pub wire: PortId,
    /// Leads to the host's own stack; none where the interface is the switch's alone.
    pub host: Option<PortId>,
    /// The parent's own MAC address: the host's, and with ipvlan every member's.
    pub mac: MacAddr,
    /// How members reach each other.
    pub mode: Mode,
    /// Who is behind an address, with [`Mode::Shared`]; empty with other modes.
    pub addresses: HashMap<IpAddr, PortId>,
}

/// How members of a network on a parent reach each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Directly.
    Bridge,
    /// Not at all.
    Private,
    /// By way of a switch on the LAN that sends back what came from here (802.1Qbg).
    Vepa,
    /// There is one member only, which has the parent for itself.
    Passthru,
    /// Directly, and with one MAC address for all.
    Shared,
}

impl Parent {
    /// Where a unicast frame goes.
    ///
    /// # Errors
    /// Why nowhere.
    pub fn locate(
        &self,
        network: &Network,
        ingress: PortId,
        headers: &Headers,
    ) -> Result<Verdict, DropReason> {
        match self.station(network, headers) {
            Some(port) if port == ingress => Err(DropReason::SamePort),
            Some(port) if self.is_member(ingress) && self.is_member(port) => match self.mode {
                Mode::Bridge | Mode::Shared | Mode::Passthru => Ok(Verdict::Forward(port)),
                Mode::Private => Err(DropReason::PrivateMember),
                Mode::Vepa => Ok(Verdict::Forward(self.wire)),
            },
            Some(port) if !self.is_member(ingress) && !self.is_member(port) => Err(DropReason::NotForUs),
            Some(port) => Ok(Verdict::Forward(port)),
            None if self.is_member(ingress) => Ok(Verdict::Forward(self.wire)),
            None => Err(DropReason::NotForUs),
        }
    }

    /// Whether a frame for many, heard on `ingress` from `source`, is copied to `to`; `ingress` is none for the gateway's.
    pub fn copies_to(&self, network: &Network, ingress: Option<PortId>, source: MacAddr, to: PortId) -> bool {
        let Some(ingress) = ingress else { return true };
        match (self.is_member(ingress), self.is_member(to)) {
            (true, true) => matches!(self.mode, Mode::Bridge | Mode::Shared),
            (true, false) => true,
            // What a VEPA's switch sends back goes to all but its sender.
            (false, true) => self.mode == Mode::Shared || network.static_macs.get(&source) != Some(&to),
            (false, false) => false,
        }
    }

    /// Whether a frame's source may be heard on `ingress`. Members are heard from the wire only where a switch sends
    /// their frames back; the parent never is, since what it sends to members reaches them without the LAN.
    ///
    /// # Errors
    /// [`DropReason::StaticMacElsewhere`].
    pub fn admit(&self, network: &Network, ingress: PortId, source: MacAddr) -> Result<(), DropReason> {
        let at_home = match network.static_macs.get(&source) {
            _ if source == self.mac => {
                Some(ingress) == self.host || self.mode == Mode::Shared && self.is_member(ingress)
            }
            Some(home) => *home == ingress || ingress == self.wire && self.mode == Mode::Vepa,
            None => true,
        };
        if at_home { Ok(()) } else { Err(DropReason::StaticMacElsewhere) }
    }

    /// Behind which port a station is that the switch itself sends to: whoever is not a member is on the wire.
    pub fn port_of(&self, network: &Network, station: MacAddr) -> PortId {
        network.static_macs.get(&station).copied().unwrap_or(self.wire)
    }

    fn station(&self, network: &Network, headers: &Headers) -> Option<PortId> {
        if self.mode == Mode::Shared
            && let Some(address) = headers.destination_address()
            && let Some(port) = self.addresses.get(&address)
        {
            return Some(*port);
        }
        if headers.destination == self.mac {
            return self.host;
        }
        network.static_macs.get(&headers.destination).copied()
    }

    fn is_member(&self, port: PortId) -> bool {
        port != self.wire && Some(port) != self.host
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use vswitch_wire::{build, parse};

    use super::*;
    use crate::fdb::FdbLimits;
    use crate::storm::StormLimits;
    use crate::tables::{BridgeSettings, UnknownUnicast};

    const PARENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xff]);
    const LAN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xaa]);

    fn port(n: usize) -> PortId {
        PortId::new(n).unwrap()
    }

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn ip(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, n)
    }

    /// Wire 0, host 1, members 2 and 3.
    fn lan(mode: Mode) -> Network {
        let settings = BridgeSettings {
            fdb: FdbLimits { entries: 8, per_port: 8, ageing: 80 },
            storm: StormLimits::default(),
            unknown_unicast: UnknownUnicast::Drop,
        };
        let addresses = if mode == Mode::Shared {
            vec![(ip(2).into(), port(2)), (ip(3).into(), port(3))]
        } else {
            vec![]
        };
        let parent = Parent {
            wire: port(0),
            host: Some(port(1)),
            mac: PARENT,
            mode,
            addresses: addresses.into_iter().collect(),
        };
        Network {
            members: (0..4).map(port).collect(),
            static_macs: [(mac(2), port(2)), (mac(3), port(3))].into(),
            parent: Some(parent),
            ..Network::new(settings)
        }
    }

    fn sent(mode: Mode, ingress: usize, to: MacAddr, to_ip: u8) -> Result<Verdict, DropReason> {
        let network = lan(mode);
        let frame =
            build::udp4(to, mac(9), SocketAddrV4::new(ip(9), 1), SocketAddrV4::new(ip(to_ip), 2), b"x");
        let headers = parse(&frame).unwrap().headers;
        network.parent.as_ref().unwrap().locate(&network, port(ingress), &headers)
    }

    #[test]
    fn members_reach_each_other_as_the_mode_says() {
        assert_eq!(sent(Mode::Bridge, 2, mac(3), 3), Ok(Verdict::Forward(port(3))));
        assert_eq!(sent(Mode::Private, 2, mac(3), 3), Err(DropReason::PrivateMember));
        assert_eq!(sent(Mode::Vepa, 2, mac(3), 3), Ok(Verdict::Forward(port(0))));
    }

    #[test]
    fn everybody_reaches_the_lan_and_the_host() {
        for mode in [Mode::Bridge, Mode::Private, Mode::Vepa, Mode::Passthru, Mode::Shared] {
            assert_eq!(sent(mode, 2, LAN, 77), Ok(Verdict::Forward(port(0))), "{mode:?}");
            assert_eq!(sent(mode, 2, PARENT, 78), Ok(Verdict::Forward(port(1))), "{mode:?}");
            assert_eq!(sent(mode, 0, LAN, 77), Err(DropReason::NotForUs), "{mode:?}");
            assert_eq!(sent(mode, 0, PARENT, 78), Err(DropReason::NotForUs), "the host has it already");
        }
        for ingress in [0, 1] {
            assert_eq!(sent(Mode::Bridge, ingress, mac(2), 2), Ok(Verdict::Forward(port(2))));
            assert_eq!(sent(Mode::Shared, ingress, PARENT, 2), Ok(Verdict::Forward(port(2))));
        }
    }

    #[test]
    fn one_mac_for_all_is_told_apart_by_address() {
        assert_eq!(sent(Mode::Shared, 2, PARENT, 3), Ok(Verdict::Forward(port(3))));
        assert_eq!(sent(Mode::Shared, 3, PARENT, 3), Err(DropReason::SamePort));
    }

    #[test]
    fn what_is_for_many_is_copied_as_the_mode_says() {
        let copies = |mode, ingress, source, to| {
            let network = lan(mode);
            network.parent.as_ref().unwrap().copies_to(&network, Some(port(ingress)), source, port(to))
        };
        for mode in [Mode::Bridge, Mode::Private, Mode::Vepa, Mode::Shared] {
            assert!(copies(mode, 2, mac(2), 0) && copies(mode, 2, mac(2), 1), "to the LAN and the host");
            assert!(copies(mode, 0, LAN, 2) && copies(mode, 1, PARENT, 2), "from the LAN and the host");
            assert!(!copies(mode, 0, LAN, 1) && !copies(mode, 1, PARENT, 0), "the kernel does that");
        }
        assert!(copies(Mode::Bridge, 2, mac(2), 3));
        assert!(!copies(Mode::Private, 2, mac(2), 3));
        assert!(!copies(Mode::Vepa, 2, mac(2), 3));
        assert!(copies(Mode::Vepa, 0, mac(2), 3), "sent back by the LAN's switch");
        assert!(!copies(Mode::Vepa, 0, mac(2), 2), "but not to its sender");
    }

    #[test]
    fn nobody_on_the_wire_is_one_of_us() {
        let admit = |mode, source| {
            let network = lan(mode);
            network.parent.as_ref().unwrap().admit(&network, port(0), source)
        };
        assert_eq!(admit(Mode::Bridge, mac(2)), Err(DropReason::StaticMacElsewhere));
        assert_eq!(admit(Mode::Bridge, LAN), Ok(()));
        assert_eq!(admit(Mode::Vepa, mac(2)), Ok(()));
        for mode in [Mode::Bridge, Mode::Private, Mode::Vepa, Mode::Passthru, Mode::Shared] {
            assert_eq!(
                admit(mode, PARENT),
                Err(DropReason::StaticMacElsewhere),
                "{mode:?}: sent back or forged"
            );
        }
    }

    #[test]
    fn the_parents_mac_address_is_the_hosts_and_where_it_is_shared_the_members() {
        let admit = |mode, ingress| {
            let network = lan(mode);
            network.parent.as_ref().unwrap().admit(&network, port(ingress), PARENT)
        };
        assert_eq!((admit(Mode::Bridge, 1), admit(Mode::Shared, 1)), (Ok(()), Ok(())));
        assert_eq!(admit(Mode::Bridge, 2), Err(DropReason::StaticMacElsewhere));
        assert_eq!(admit(Mode::Shared, 2), Ok(()));
    }

    #[test]
    fn who_is_not_a_member_is_on_the_wire() {
        let network = lan(Mode::Bridge);
        let parent = network.parent.as_ref().unwrap();
        assert_eq!((parent.port_of(&network, mac(3)), parent.port_of(&network, LAN)), (port(3), port(0)));
    }
}
