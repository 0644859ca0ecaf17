//! `[switch]`.

use crate::{
    diagnostic::Diagnostics,
    model::SwitchSettings,
    names::NetworkName,
    reader::{Field, Keys},
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
