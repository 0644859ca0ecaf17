//! The stages a frame walks, by name and in order: what output says of where a frame ended.
//!
//! Which stage asks what stands in the code of the stages, [`crate::shard`], [`crate::bridge`] and
//! [`crate::router::walk`]; which reason ends a frame at which stage, in the table of [`DropReason`]. A frame that is
//! bridged goes from look-up or flood to egress, one that is routed from gateway to reverse path and on; hairpins are
//! translated once, at destination NAT, source included.
//!
//! [`DropReason`]: crate::DropReason

macro_rules! stages {
    ($($variant:ident, $name:literal, $question:literal;)*) => {
        /// One stage of a frame's way through the switch, in the order of the walk.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Stage {
            $(#[doc = $question] $variant,)*
        }

        impl Stage {
            /// Every stage, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name used in output.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it does, in one sentence for people.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $question,)*
                }
            }
        }
    };
}

stages! {
    Ingress, "ingress", "The port the frame came from is looked up, and its network.";
    Parse, "parse", "The bytes are read as headers, once.";
    Offload, "offload", "The virtio offload header is held against the headers.";
    Guard, "guard", "Sources that no station has are refused, and with the source guard on, all but the attachment's own.";
    Learn, "learn", "The source MAC address is learned, or held against what is configured.";
    Gateway, "gateway", "The network's gateway answers what is asked of it, and takes what is for its MAC address to be routed.";
    LookUp, "look-up", "The port where the destination MAC address lives is looked up.";
    Flood, "flood", "What is for many, or for nobody known, is copied to every port, within storm control.";
    Sanity, "sanity", "A packet to be routed must have headers, addresses and options that a router may pass on.";
    ReversePath, "reverse-path", "The way back to the source must lead where the packet came from.";
    DestinationNat, "destination-nat", "A packet for one of the switch's own addresses gets the inside endpoint it is for; its connection is found or begins.";
    Route, "route", "The longest prefix of the network's table that covers the destination says where it goes on.";
    Isolation, "isolation", "Members that may not reach each other do not do so by way of the gateway either.";
    SourceNat, "source-nat", "A packet that leaves by the uplink gets an outside source; its connection is found or begins.";
    HopLimit, "hop-limit", "The packet must have hops left.";
    Mtu, "mtu", "The packet must fit its way on, or may be sent in pieces.";
    Neighbor, "neighbor", "The MAC address of the next hop is known or asked for.";
    Rewrite, "rewrite", "Addresses, ports and hops are rewritten as the stages decided.";
    Local, "local", "A packet for the switch itself is answered by it, or refused.";
    Egress, "egress", "The frame is finished for its port's device and written.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DropReason;
    use std::collections::HashSet;

    #[test]
    fn stages_are_told_apart_and_stand_in_order() {
        let names: HashSet<_> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        assert_eq!(names.len(), Stage::ALL.len(), "two stages share a name");
        assert!(Stage::ALL.is_sorted());
    }

    #[test]
    fn a_frame_can_end_at_every_stage() {
        let ended: HashSet<_> =
            DropReason::all().flat_map(|reason| reason.stages().iter().copied()).collect();
        let never: Vec<_> = Stage::ALL.iter().filter(|stage| !ended.contains(stage)).collect();
        assert!(never.is_empty(), "no reason names {never:?}");
    }
}
