//! Checks across sections: what each section says alone is sound; is it together?

mod attachments;
mod containers;
mod overlap;
mod subnets;

pub(crate) use self::{
    attachments::attachments,
    containers::{PlannedContainer, containers},
    subnets::{PlannedNetwork, PlannedNetworks, networks},
};
