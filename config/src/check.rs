//! Checks across sections: what each section says alone is sound; is it together?

mod advertisements;
mod attachments;
mod claims;
mod containers;
mod lans;
mod overlap;
mod parents;
mod publish;
mod routes;
mod subnets;
mod uplink;

pub(crate) use self::{
    attachments::attachments,
    containers::{PlannedContainer, containers},
    lans::lans,
    parents::parents,
    publish::publish,
    routes::routes,
    subnets::{PlannedNetwork, PlannedNetworks, networks},
    uplink::uplink,
};
