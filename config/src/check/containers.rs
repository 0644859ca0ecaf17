//! Containers: where does the network of each come from?

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::subnets::PlannedNetworks;
use crate::{
    Surroundings,
    diagnostic::{Diagnostic, Diagnostics, Span},
    model::{Container, Netns, NetnsRef, NetworkMode},
    names::ContainerName,
    parse::{RawAttachment, RawContainer, RawMode, RawNetworks, RawPublish},
    reader::{At, listed},
    suggest::nearest,
};

/// A container whose attachments are known by network, not yet by address.
#[derive(Debug)]
pub(crate) struct PlannedContainer {
    /// All but `attachments` and `ports`.
    pub(crate) settings: Container,
    pub(crate) name_span: Span,
    pub(crate) attachments: Vec<RawAttachment>,
    /// An attachment is missing, because its network does not exist.
    pub(crate) incomplete: bool,
    pub(crate) publish: RawPublish,
}

impl PlannedContainer {
    /// Whether its attachments are its network.
    pub(super) fn has_networks(&self) -> bool {
        self.settings.network_mode == NetworkMode::Networks
    }
}

/// Checks all containers, `raw` in the order of the text. Attachments to networks that do not exist are left out.
pub(crate) fn containers(
    raw: Vec<RawContainer>,
    networks: &PlannedNetworks,
    refused: &BTreeSet<String>,
    surroundings: &Surroundings<'_>,
    report: &mut Diagnostics,
) -> Vec<PlannedContainer> {
    namespaces(&raw, surroundings, report);
    references(&raw, refused, report);
    for container in &raw {
        combinations(container, report);
    }
    raw.into_iter().map(|container| plan(container, networks, refused, report)).collect()
}

/// Does each namespace exist, and has each one owner only?
fn namespaces(raw: &[RawContainer], surroundings: &Surroundings<'_>, report: &mut Diagnostics) {
    let mut owners: BTreeMap<NetnsRef, &RawContainer> = BTreeMap::new();
    for container in raw {
        let Some(At { value: Netns::Existing(netns), span }) = &container.netns else { continue };
        let name = &container.settings.name;
        if let Err(reason) = (surroundings.netns_exists)(netns) {
            let message = format!("the network namespace of container `{name}` cannot be used");
            let help = match netns {
                NetnsRef::Name(netns) => format!(
                    "make it with `ip netns add {netns}`, or write `netns = \"new\"` to let vswitch make one"
                ),
                NetnsRef::Path(_) => {
                    "name an existing namespace file, or write `netns = \"new\"` to let vswitch make one"
                        .to_owned()
                }
                NetnsRef::Pid(_) => {
                    "name a running process, or write `netns = \"new\"` to let vswitch make a namespace"
                        .to_owned()
                }
            };
            report.push(Diagnostic::new(message, span.clone(), reason).help(help));
        }
        let Some(owner) = owners.get(&file_of(netns)) else {
            owners.insert(file_of(netns), container);
            continue;
        };
        let owner_name = &owner.settings.name;
        let message = format!("containers `{owner_name}` and `{name}` have the same network namespace");
        let first = owner.netns.as_ref().map_or(owner.name_span.clone(), |netns| netns.span.clone());
        report.push(
            Diagnostic::new(message, span.clone(), "used again here").also(first, "first used here").help(
                format!("to share it, write `network_mode = \"container:{owner_name}\"` instead of `netns`"),
            ),
        );
    }
}

/// The namespace by its file, so that a name and a path of the same file are equal.
fn file_of(netns: &NetnsRef) -> NetnsRef {
    match netns {
        NetnsRef::Name(name) => NetnsRef::Path(Path::new("/run/netns").join(name)),
        // /var/run is a link to /run wherever there is an `ip netns`.
        NetnsRef::Path(path) => match path.strip_prefix("/var/run") {
            Ok(rest) => NetnsRef::Path(Path::new("/run").join(rest)),
            Err(_) => netns.clone(),
        },
        NetnsRef::Pid(pid) => NetnsRef::Path(format!("/proc/{pid}/ns/net").into()),
    }
}

/// Does every `container:NAME` lead to a container, and the chain to an end?
fn references(raw: &[RawContainer], refused: &BTreeSet<String>, report: &mut Diagnostics) {
    let index: BTreeMap<&str, usize> =
        raw.iter().enumerate().map(|(i, c)| (c.settings.name.as_str(), i)).collect();
    let mut targets: Vec<Option<usize>> = vec![None; raw.len()];
    for (i, container) in raw.iter().enumerate() {
        let Some(At { value: RawMode::Container(target), span }) = &container.network_mode else { continue };
        targets[i] = index.get(target.as_str()).copied();
        if targets[i].is_none() && !refused.contains(target) {
            let message =
                format!("container `{}` shares the network of an unknown container", container.settings.name);
            let label = format!("there is no container `{}`", target.escape_debug());
            let diagnostic = Diagnostic::new(message, span.clone(), label);
            report.push(
                match nearest(
                    target,
                    index.keys().copied().filter(|name| *name != container.settings.name.as_str()),
                ) {
                    Some(name) => diagnostic.help(format!("did you mean \"container:{name}\"?")),
                    None => diagnostic.help("declare it as `[containers.NAME]`"),
                },
            );
        }
    }
    // Each has one target at most: follow it until an end, a known path, or this very walk again.
    let mut walked_by: Vec<Option<usize>> = vec![None; raw.len()];
    for start in 0..raw.len() {
        let mut at = start;
        while walked_by[at].is_none() {
            walked_by[at] = Some(start);
            match targets[at] {
                Some(next) if walked_by[next] == Some(start) => {
                    report.push(cycle(raw, &targets, next));
                    break;
                }
                Some(next) => at = next,
                None => break,
            }
        }
    }
}

fn cycle(raw: &[RawContainer], targets: &[Option<usize>], start: usize) -> Diagnostic {
    let mode_span =
        |i: usize| raw[i].network_mode.as_ref().map_or(raw[i].name_span.clone(), |mode| mode.span.clone());
    let round = std::iter::successors(Some(start), |at| targets[*at].filter(|next| *next != start));
    let members: Vec<usize> = round.collect();
    let help = "let one of them have networks of its own";
    if members.len() == 1 {
        let message = format!("container `{}` shares its own network", raw[start].settings.name);
        return Diagnostic::new(message, mode_span(start), "this is the container itself")
            .help("name another container, or leave out `network_mode` and name networks");
    }
    let names = listed(members.iter().map(|i| &raw[*i].settings.name));
    let message = format!("containers {names} share each other's network, and none has one");
    let diagnostic = Diagnostic::new(message, mode_span(start), "leads back here").help(help);
    members.iter().skip(1).fold(diagnostic, |diagnostic, i| diagnostic.also(mode_span(*i), "by way of this"))
}

/// Are `network_mode` and the other keys of the container compatible?
fn combinations(container: &RawContainer, report: &mut Diagnostics) {
    let Some(mode) = &container.network_mode else { return };
    let name = &container.settings.name;
    let text = match &mode.value {
        RawMode::Container(target) => format!("container:{}", target.escape_debug()),
        RawMode::None => "none".to_owned(),
        RawMode::Host => "host".to_owned(),
    };
    let mut refuse = |key: &str, span: &Span, help: String| {
        let message = format!("container `{name}` cannot have both `network_mode = \"{text}\"` and `{key}`");
        report.push(
            Diagnostic::new(message, span.clone(), "not with this `network_mode`")
                .also(mode.span.clone(), "because of this")
                .help(help),
        );
    };
    if let RawNetworks::Listed(networks) = &container.networks {
        refuse("networks", &networks.span, "remove one of the two".to_owned());
    }
    if let Some(netns) = container.netns.as_ref().filter(|_| mode.value != RawMode::None) {
        refuse(
            "netns",
            &netns.span,
            "remove one of the two: both say whose network namespace it uses".to_owned(),
        );
    }
    for key in &container.publish.keys {
        let help = match &mode.value {
            RawMode::Container(target) => {
                format!("set `{}` on container `{}`, whose network it is", key.value, target.escape_debug())
            }
            RawMode::None => "remove it: a container without a network is not reachable".to_owned(),
            RawMode::Host => "remove it: what listens in the host's network is reachable as it is".to_owned(),
        };
        refuse(&key.value, &key.span, help);
    }
    // As Docker does: those belong to the container whose network it is.
    if let RawMode::Container(target) = &mode.value {
        for key in &container.namespace_keys {
            refuse(
                &key.value,
                &key.span,
                format!("set `{}` on container `{}`, whose it is", key.value, target.escape_debug()),
            );
        }
    }
}

fn plan(
    raw: RawContainer,
    networks: &PlannedNetworks,
    refused: &BTreeSet<String>,
    report: &mut Diagnostics,
) -> PlannedContainer {
    let mut settings = raw.settings;
    let wanted = match (&raw.network_mode, &raw.networks) {
        (None, RawNetworks::Listed(listed)) => listed.value.len(),
        (None, RawNetworks::Absent | RawNetworks::Damaged) => 1,
        (Some(_), _) => 0,
    };
    let attachments = match (&raw.network_mode, raw.networks) {
        (None, RawNetworks::Listed(listed)) => known(listed.value, &settings.name, networks, refused, report),
        (None, RawNetworks::Absent) => implied(&settings.name, &raw.name_span, networks, refused, report),
        _ => Vec::new(),
    };
    settings.network_mode = match raw.network_mode.map(|mode| mode.value) {
        None => NetworkMode::Networks,
        Some(RawMode::None) => NetworkMode::None,
        Some(RawMode::Host) => NetworkMode::Host,
        // One that is no name is no container's, which has been reported.
        Some(RawMode::Container(target)) => {
            target.parse::<ContainerName>().map_or(NetworkMode::None, NetworkMode::Container)
        }
    };
    let incomplete = attachments.len() < wanted;
    PlannedContainer { settings, name_span: raw.name_span, attachments, incomplete, publish: raw.publish }
}

/// The attachments whose network exists; each network once.
fn known(
    listed_attachments: Vec<RawAttachment>,
    container: &ContainerName,
    networks: &PlannedNetworks,
    refused: &BTreeSet<String>,
    report: &mut Diagnostics,
) -> Vec<RawAttachment> {
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    let mut known = Vec::new();
    for attachment in listed_attachments {
        let At { value: name, span } = attachment.network.clone();
        if let Some(first) = seen.get(&name) {
            let message =
                format!("container `{container}` is attached to network `{}` twice", name.escape_debug());
            report.push(
                Diagnostic::new(message, span, "again here")
                    .also(first.clone(), "first here")
                    .help("remove one of the two"),
            );
            continue;
        }
        seen.insert(name.clone(), span.clone());
        if networks.contains_key(name.as_str()) {
            known.push(attachment);
        } else if !refused.contains(&name) {
            let message = format!("container `{container}` is attached to an unknown network");
            let label = format!("there is no network `{}`", name.escape_debug());
            let diagnostic = Diagnostic::new(message, span, label);
            report.push(match nearest(&name, networks.keys().map(|name| name.as_str())) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.help(format!("declare it: [networks.{}]", name.escape_debug())),
            });
        }
    }
    known
}

/// The attachment of a container that names none: to `default`, as Compose has it, or to the only network there is.
fn implied(
    container: &ContainerName,
    span: &Span,
    networks: &PlannedNetworks,
    refused: &BTreeSet<String>,
    report: &mut Diagnostics,
) -> Vec<RawAttachment> {
    let only = networks.keys().next().filter(|_| networks.len() == 1 && refused.is_empty());
    if let Some(name) = networks.get_key_value("default").map(|(name, _)| name).or(only) {
        return vec![RawAttachment::to(name.as_str(), span.clone())];
    }
    // A refused one might have been the one.
    if refused.is_empty() {
        let diagnostic = Diagnostic::new(
            format!("container `{container}` names no network"),
            span.clone(),
            "attached to what?",
        );
        report.push(match networks.keys().next() {
            None => diagnostic.help("declare one: [networks.default], or write `network_mode = \"none\"` for a container without one"),
            Some(first) => diagnostic.help(format!(
                "add `networks = [\"{first}\"]` to it; without it a container joins the network `default`, or the only one, and there are: {}",
                listed(networks.keys().take(10))
            )),
        });
    }
    Vec::new()
}
