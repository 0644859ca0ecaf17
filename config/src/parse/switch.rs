//! `[switch]` and `[uplink]`.

use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    model::{SwitchSettings, Uplink},
    names::NetworkName,
    reader::{Field, Keys, not_supported_yet},
};

const SWITCH_KEYS: Keys = Keys {
    known: &["name", "workers"],
    planned: &["metrics"],
    foreign: &[
        ("threads", "did you mean `workers`?"),
        ("mtu", "the MTU is set per network: `[networks.NAME] mtu = …`"),
    ],
};

const MAX_WORKERS: i64 = 64;

/// The settings of a file without `[switch]`.
pub(super) fn defaults() -> SwitchSettings {
    SwitchSettings { name: "default".to_owned(), workers: 1 }
}

pub(super) fn switch(field: &Field<'_>, report: &mut Diagnostics) -> Option<SwitchSettings> {
    let section = field.section(report)?;
    section.check_keys(&SWITCH_KEYS, report);
    let mut settings = defaults();
    // It names the control socket, so it must be a sound file name: the rules for network names make it one.
    let name = section
        .read("name", report, |field, report| field.parsed::<NetworkName>("a name", "default", report));
    if let Some(name) = name {
        settings.name = name.value.to_string();
    }
    if let Some(workers) =
        section.read("workers", report, |field, report| field.integer(1..=MAX_WORKERS, report))
    {
        settings.workers = workers.value;
    }
    Some(settings)
}

/// Only `kind = "none"` is built; the other keys belong to the kinds that are not, so they are refused with them.
pub(super) fn uplink(field: &Field<'_>, report: &mut Diagnostics) -> Option<Uplink> {
    const KEYS: Keys =
        Keys { known: &["kind"], planned: &["interface", "ipv4", "ipv6", "gateway", "tap"], foreign: &[] };
    let section = field.section(report)?;
    section.check_keys(&KEYS, report);
    let Some(kind) = section.field("kind") else {
        let message = "`uplink` without `kind` is not supported yet";
        report.push(
            Diagnostic::new(message, field.span(), "`kind` would be \"sockets\"")
                .help("write `kind = \"none\"`, or leave out `[uplink]`"),
        );
        return None;
    };
    let known = [("none", ())];
    match kind.as_str() {
        Some(text @ ("sockets" | "interface" | "tap")) => {
            let what = kind.assigned(&format!("\"{text}\""));
            report.push(
                not_supported_yet(&what, kind.span())
                    .help("write `kind = \"none\"`, or leave out `[uplink]`: networks without a way out"),
            );
            None
        }
        _ => kind.word(&known, &[], report).map(|_| Uplink::None),
    }
}
