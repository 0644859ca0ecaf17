//! What a server grants: the address, what comes with it, and for how long.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use vswitch_switch::Time;

use super::reply::{Reply, is_host};

pub(super) const SUBNET_MASK: u8 = 1;
pub(super) const ROUTER: u8 = 3;
pub(super) const DNS: u8 = 6;
pub(super) const DOMAIN: u8 = 15;
pub(super) const MTU: u8 = 26;
pub(super) const LEASE_TIME: u8 = 51;
pub(super) const RENEWAL_TIME: u8 = 58;
pub(super) const REBINDING_TIME: u8 = 59;
pub(super) const CLASSLESS_ROUTES: u8 = 121;

/// Further ones are left out: what a server may make us keep is bounded.
const MOST_DNS: usize = 8;
const MOST_ROUTES: usize = 32;

/// What every IPv4 host can take (RFC 791 §3.2). A server that demands less is mistaken or means harm.
const LEAST_MTU: u16 = 576;

/// A lease shorter than this could not be renewed before it ends, and would be an event every few seconds.
const SHORTEST: u32 = 10;

/// In [`LEASE_TIME`]: for ever (RFC 2131 §3.3).
const FOR_EVER: u32 = u32::MAX;

/// What the uplink may use, and until when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The address, with the length of its subnet's prefix.
    pub address: Ipv4Net,
    /// The default gateway. It may lie outside the subnet, as clouds have it with /32; it is on the link then.
    pub router: Option<Ipv4Addr>,
    /// Further routes, at most 32 (RFC 3442).
    pub routes: Vec<Route>,
    /// Name servers, best first, at most 8.
    pub dns: Vec<Ipv4Addr>,
    /// The domain to look names up in; letters, digits, hyphens and dots only.
    pub domain: Option<String>,
    /// The MTU of the link, at least 576.
    pub mtu: Option<u16>,
    /// Which server granted it.
    pub server: Ipv4Addr,
    /// When it ends unless it is renewed; none: never.
    pub expires: Option<Time>,
}

/// Where packets for a destination are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Who is reached by it.
    pub destination: Ipv4Net,
    /// By which router; none: they are on the link.
    pub gateway: Option<Ipv4Addr>,
}

/// When a lease wants attention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Terms {
    /// T1: from then on its server is asked for more.
    pub(super) renew: Time,
    /// T2: from then on every server is asked.
    pub(super) rebind: Time,
    /// The end.
    pub(super) expire: Time,
}

/// The lease in an offer or an acknowledgement of what was asked for at `asked`, with its terms (none: for
/// ever). None when it is of no use: an address that no host can have, no subnet, no time.
pub(super) fn granted(reply: &Reply<'_>, asked: Time) -> Option<(Lease, Option<Terms>)> {
    let seconds = reply.number32(LEASE_TIME).filter(|seconds| *seconds >= SHORTEST)?;
    let terms = (seconds != FOR_EVER).then(|| terms(reply, seconds, asked));
    let address = subnet(reply)?;
    // A server's classless routes take the place of its router option (RFC 3442).
    let (router, routes) = match reply.option(CLASSLESS_ROUTES).and_then(|option| classless_routes(&option)) {
        Some(mut routes) => {
            let default = routes.iter().find(|route| route.destination.prefix_len() == 0);
            let router = default.and_then(|route| route.gateway);
            routes.retain(|route| route.destination.prefix_len() != 0);
            (router, routes)
        }
        None => (reply.address(ROUTER), Vec::new()),
    };
    let own = address.addr();
    let lease = Lease {
        address,
        router: router.filter(|router| is_host(*router) && *router != own),
        routes,
        dns: addresses(&reply.option(DNS).unwrap_or_default())
            .filter(|dns| is_host(*dns))
            .take(MOST_DNS)
            .collect(),
        domain: reply.option(DOMAIN).and_then(domain),
        mtu: reply.number16(MTU).filter(|mtu| *mtu >= LEAST_MTU),
        server: reply.server,
        expires: terms.map(|terms| terms.expire),
    };
    Some((lease, terms))
}

/// T1 and T2 as the server has them where they make sense, else at a half and seven eighths (RFC 2131 §4.4.5).
fn terms(reply: &Reply<'_>, seconds: u32, asked: Time) -> Terms {
    let whole = Duration::from_secs(seconds.into());
    let own = |code| reply.number32(code).map(|seconds| Duration::from_secs(seconds.into()));
    let rebind = own(REBINDING_TIME).filter(|t2| *t2 < whole).unwrap_or(whole * 7 / 8);
    let renew = own(RENEWAL_TIME).filter(|t1| !t1.is_zero() && *t1 < rebind).unwrap_or(rebind.min(whole / 2));
    Terms { renew: asked.after(renew), rebind: asked.after(rebind), expire: asked.after(whole) }
}

/// The address with its subnet; it is neither the subnet's own name nor its broadcast address.
fn subnet(reply: &Reply<'_>) -> Option<Ipv4Net> {
    let address = Ipv4Net::with_netmask(reply.address, reply.address(SUBNET_MASK)?).ok()?;
    let names_all = address.addr() == address.network() || address.addr() == address.broadcast();
    // A /31 has no such addresses (RFC 3021), a /32 no others.
    let usable = address.prefix_len() > 30 || !names_all;
    (address.prefix_len() > 0 && usable && is_host(reply.address)).then_some(address)
}

/// Destinations in as many bytes as they need, each with its router (RFC 3442). None when one is wrong: half
/// a table is worse than none.
fn classless_routes(option: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    let mut rest = option;
    while let Some((&length, behind)) = rest.split_first() {
        let (significant, behind) = behind.split_at_checked(usize::from(length.div_ceil(8)))?;
        let mut octets = [0; 4];
        octets.get_mut(..significant.len())?.copy_from_slice(significant);
        let destination = Ipv4Net::new(octets.into(), length).ok()?.trunc();
        let (gateway, behind) = behind.split_first_chunk::<4>()?;
        let gateway = Ipv4Addr::from(*gateway);
        let gateway = (!gateway.is_unspecified()).then_some(gateway);
        if gateway.is_some_and(|gateway| !is_host(gateway)) {
            return None;
        }
        routes.push(Route { destination, gateway });
        rest = behind;
    }
    routes.truncate(MOST_ROUTES);
    Some(routes)
}

fn addresses(option: &[u8]) -> impl Iterator<Item = Ipv4Addr> {
    option.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets))
}

/// A name that may be written into a file for others to read: what is in it comes from whoever answered.
fn domain(mut option: Vec<u8>) -> Option<String> {
    // Some servers count the zero at the end (RFC 2132 §2).
    while option.pop_if(|byte| *byte == 0).is_some() {}
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let fine = (1..=253).contains(&option.len()) && option.iter().all(plain) && option[0] != b'-';
    if fine { String::from_utf8(option).ok() } else { None }
}
