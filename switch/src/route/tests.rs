use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn network(nth: usize) -> NetworkId {
    NetworkId::new(nth).unwrap()
}

fn find(fib: &Fib, address: IpAddr) -> Option<&Route> {
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    fib.lookup(family, &address.into())
}

/// RFC 1812 §5.2.4.3 word by word: of the routes that cover the address, the one with the longest prefix.
fn scan(routes: &[(IpNet, Route)], address: IpAddr) -> Option<&Route> {
    let covering = routes.iter().filter(|(prefix, _)| prefix.contains(&address));
    covering.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, route)| route)
}

#[test]
fn the_longest_prefix_wins_and_its_end_is_its_end() {
    let fib = Fib::build(vec![
        (net("0.0.0.0/0"), Route::Unreachable),
        (net("10.0.0.0/8"), Route::Blackhole),
        (net("10.1.0.0/16"), Route::Connected(network(1))),
        (net("10.1.2.3/32"), Route::Prohibit),
        (net("255.255.255.255/32"), Route::Blackhole),
        (net("fd00::/64"), Route::Connected(network(2))),
    ]);
    for (address, expected) in [
        ("9.255.255.255", Some(Route::Unreachable)),
        ("10.0.0.0", Some(Route::Blackhole)),
        ("10.1.2.2", Some(Route::Connected(network(1)))),
        ("10.1.2.3", Some(Route::Prohibit)),
        ("10.1.2.4", Some(Route::Connected(network(1)))),
        ("10.2.0.0", Some(Route::Blackhole)),
        ("11.0.0.0", Some(Route::Unreachable)),
        ("255.255.255.254", Some(Route::Unreachable)),
        ("255.255.255.255", Some(Route::Blackhole)),
        ("fd00::", Some(Route::Connected(network(2)))),
        ("fd00::ffff:ffff:ffff:ffff", Some(Route::Connected(network(2)))),
        ("fd00:0:0:1::", None),
        ("::", None),
    ] {
        assert_eq!(find(&fib, ip(address)), expected.as_ref(), "{address}");
    }
}

#[test]
fn an_empty_table_has_no_route() {
    let fib = Fib::default();
    assert_eq!(find(&fib, ip("10.0.0.1")), None);
    assert_eq!(find(&fib, ip("::1")), None);
    assert_eq!(fib.routes().count(), 0);
}

#[test]
fn host_bits_do_not_count_and_routes_are_listed_in_order() {
    let fib = Fib::build(vec![
        (net("fd00::1/64"), Route::Blackhole),
        (net("10.0.0.7/24"), Route::Prohibit),
        (net("10.0.0.0/8"), Route::Unreachable),
    ]);
    let listed: Vec<_> = fib.routes().map(|(prefix, _)| prefix).collect();
    assert_eq!(listed, [net("10.0.0.0/8"), net("10.0.0.0/24"), net("fd00::/64")]);
    assert_eq!(find(&fib, ip("10.0.0.200")), Some(&Route::Prohibit));
}

#[test]
fn flows_spread_over_the_hops_and_each_stays_on_its_own() {
    let hop = |nth: u8| NextHop { network: network(0), via: IpAddr::from([10, 0, 0, nth]) };
    let hops = NextHops::new((1..=5).map(hop).collect()).unwrap();
    let mut flows = [0_u32; 6];
    for nth in 0..10_000_u64 {
        let hash = crate::hash::Seed::new(7).hash_word(nth);
        let IpAddr::V4(via) = hops.select(hash).via else { unreachable!() };
        assert_eq!(hops.select(hash).via, IpAddr::V4(via));
        flows[usize::from(via.octets()[3])] += 1;
    }
    assert!(flows[1..].iter().all(|count| (1800..2200).contains(count)), "{flows:?}");
    assert_eq!(hops.select(0).via, ip("10.0.0.1"));
    assert_eq!(hops.select(u64::MAX).via, ip("10.0.0.5"));
    assert!(NextHops::new(Vec::new()).is_none());
    assert!(NextHops::new(vec![hop(1); 65]).is_none());
    assert_eq!(NextHops::new(vec![hop(1); 64]).unwrap().select(u64::MAX), &hop(1));
}

/// Prefixes as configurations have them: in a few blocks, nested, crowded in places and with outliers.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (prop_oneof![Just(0x0a00_0000_u32), Just(0xc0a8_0000), any::<u32>()], any::<u32>(), 0_u8..=32)
        .prop_map(|(block, bits, length)| {
            let address = Ipv4Addr::from(block ^ bits >> 12);
            IpNet::new(address.into(), length).unwrap().trunc()
        });
    let blocks = prop_oneof![Just(0x2001_0db8_u128 << 96), Just(0xfd00_u128 << 112), any::<u128>()];
    let v6 = (blocks, any::<u128>(), 0_u32..128, 0_u8..=128).prop_map(|(block, bits, shift, length)| {
        IpNet::new(Ipv6Addr::from(block ^ bits >> shift).into(), length).unwrap().trunc()
    });
    prop_oneof![v4, v6]
}

/// The first and last address of a prefix and those next to it, where a search that errs does so.
fn edges(prefix: &IpNet) -> Vec<IpAddr> {
    match prefix {
        IpNet::V4(prefix) => {
            let (first, last) = (u32::from(prefix.network()), u32::from(prefix.broadcast()));
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|n| Ipv4Addr::from(n).into())
                .into()
        }
        IpNet::V6(prefix) => {
            let (first, last) = (u128::from(prefix.network()), u128::from(prefix.broadcast()));
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|n| Ipv6Addr::from(n).into())
                .into()
        }
    }
}

proptest! {
    #[test]
    fn finds_what_a_scan_finds(
        prefixes in prop::collection::btree_set(prefix(), 0..200), v4: [u32; 8], v6: [u128; 8],
    ) {
        let routes: Vec<_> = (0..).zip(&prefixes).map(|(n, prefix)| (*prefix, Route::Connected(network(n)))).collect();
        let fib = Fib::build(routes.clone());
        let random = v4.iter().map(|n| Ipv4Addr::from(*n).into()).chain(v6.iter().map(|n| Ipv6Addr::from(*n).into()));
        for address in prefixes.iter().flat_map(edges).chain(random) {
            prop_assert_eq!(find(&fib, address), scan(&routes, address), "{}", address);
        }
        prop_assert_eq!(fib.routes().count(), routes.len());
    }
}

/// Powers of two crowd at every scale at once: the deepest index there is.
#[test]
fn a_table_crowded_at_every_scale_is_searched_rightly() {
    let routes: Vec<_> = (0..128)
        .flat_map(|n| [(n, 0), (n, 1)])
        .filter(|(n, low)| *n > 0 || *low == 0)
        .map(|(n, low)| {
            let address = Ipv6Addr::from(1_u128 << n | low);
            (IpNet::new(address.into(), 128).unwrap(), Route::Connected(network(n)))
        })
        .collect();
    let fib = Fib::build(routes.clone());
    for address in routes.iter().flat_map(|(prefix, _)| edges(prefix)) {
        assert_eq!(find(&fib, address), scan(&routes, address), "{address}");
    }
}
