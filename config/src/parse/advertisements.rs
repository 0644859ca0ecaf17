//! `router_advertisements` of a network.

use crate::{
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::RouterAdvertisements,
    reader::{At, Field, Keys},
};

const KEYS: Keys = Keys {
    known: &["managed", "other", "autonomous", "lifetime", "interval"],
    planned: &[],
    foreign: &[("enabled", "write `router_advertisements = false` to send none")],
};

/// `router_advertisements`, read.
#[derive(Debug, Default)]
pub(crate) enum RawAdvertisements {
    /// The key is absent: sent if the network has IPv6.
    #[default]
    Absent,
    /// `false`.
    Off,
    /// `true`, or a table.
    On {
        value: RouterAdvertisements,
        span: Span,
        /// Where `autonomous = true` stands.
        autonomous: Option<Span>,
    },
}

pub(super) fn advertisements(
    field: &Field<'_>,
    internal: bool,
    report: &mut Diagnostics,
) -> Option<RawAdvertisements> {
    let default = RouterAdvertisements::of_network(internal);
    if field.is_boolean() {
        let on = field.boolean(report)?;
        let all = RawAdvertisements::On { value: default, span: on.span, autonomous: None };
        return Some(if on.value { all } else { RawAdvertisements::Off });
    }
    if !field.is_table() {
        return field.mismatch("true, false or a table", report);
    }
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let flag = |key, report: &mut Diagnostics| section.read(key, report, Field::boolean);
    let (managed, other) = (flag("managed", report), flag("other", report));
    let autonomous = flag("autonomous", report).filter(|flag| flag.value);
    let reason = "RFC 4861 §6.2.1 bounds it";
    let interval = section
        .read("interval", report, |field, report| field.integer_because(4..=1800, Some(reason), report))
        .map_or(default.interval, |at| at.value);
    let lifetime =
        section.read("lifetime", report, |field, report| lifetime(field, interval, internal, report));
    let value = RouterAdvertisements {
        managed: managed.is_some_and(|flag| flag.value),
        other: other.is_some_and(|flag| flag.value),
        autonomous: autonomous.is_some(),
        // What is not given keeps its bounds with what is: no interval is longer than the default lifetime.
        lifetime: lifetime.unwrap_or(default.lifetime),
        interval,
    };
    let autonomous = autonomous.map(|flag| flag.span);
    Some(RawAdvertisements::On { value, span: field.span(), autonomous })
}

/// 0, or from the interval to 9000.
fn lifetime(field: &Field<'_>, interval: u16, internal: bool, report: &mut Diagnostics) -> Option<u16> {
    let At { value, span } = field.integer::<u16>(0..=9000, report)?;
    let message = format!("{} cannot be {value}", field.what());
    if internal && value > 0 {
        report.push(
            Diagnostic::new(message, span, "would be the default router of an internal network")
                .help("write 0 or leave it out, or write `internal = false`"),
        );
        return None;
    }
    if value > 0 && value < interval {
        report.push(
            Diagnostic::new(message, span, format!("shorter than the interval of {interval} seconds"))
                .help("the router would be forgotten between two advertisements: write 0 for no default router, or more"),
        );
        return None;
    }
    Some(value)
}
