//! Router advertisements (RFC 4861 §6.2.3).

use std::net::Ipv6Addr;

use ipnet::IpNet;
use vswitch_wire::{EthernetHeader, LinkLayerOption, MacAddr, MtuOption, PrefixOption, RouterAdvertisement};
use zerocopy::IntoBytes;

use super::compose::{begin_v6, discovery_header, group_mac, seal};
use super::discovery::ALL_NODES;
use crate::frame::Frame;
use crate::tables::Gateway;

/// The least MTU of a link with IPv6, which an advertisement never exceeds (RFC 8200 §5).
const LEAST_MTU: usize = 1280;

/// Writes the gateway's advertisement: to the host that asked, or without one to all nodes. It names each IPv6 subnet as
/// on-link, as many as fit into 1280 bytes (38), the network's MTU and the gateway's MAC address. `false` when the
/// gateway has nothing to advertise; nothing is written then.
pub fn write(gateway: &Gateway, to: Option<(MacAddr, Ipv6Addr)>, frame: &mut Frame) -> bool {
    let Some(advertisement) = &gateway.advertisement else { return false };
    let (to_mac, to) = to.unwrap_or((group_mac(ALL_NODES), ALL_NODES));
    // From the link-local address, by which hosts know their router (RFC 4861 §6.1.2).
    begin_v6(frame, to_mac, gateway.mac, &discovery_header(gateway.mac.link_local(), to));

    let managed = if advertisement.managed { RouterAdvertisement::MANAGED } else { 0 };
    let other = if advertisement.other { RouterAdvertisement::OTHER } else { 0 };
    frame.append(RouterAdvertisement::new(managed | other, advertisement.lifetime).as_bytes());
    frame.append(LinkLayerOption::new(LinkLayerOption::SOURCE, gateway.mac).as_bytes());
    frame.append(MtuOption::new(u32::from(gateway.mtu)).as_bytes());

    let autonomous = if advertisement.autonomous { PrefixOption::AUTONOMOUS } else { 0 };
    for own in &gateway.addresses {
        let IpNet::V6(own) = own else { continue };
        if frame.len() + size_of::<PrefixOption>() > EthernetHeader::LENGTH + LEAST_MTU {
            break;
        }
        // Interface identifiers have 64 bits (RFC 4862 §5.5.3 d): from other prefixes hosts make no addresses.
        let flags = PrefixOption::ON_LINK | if own.prefix_len() == 64 { autonomous } else { 0 };
        frame.append(PrefixOption::new(own.network(), own.prefix_len(), flags).as_bytes());
    }
    seal(frame);
    true
}
