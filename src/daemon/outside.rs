//! The daemon's part in what leads outside: LANs come and go, and layer 3 follows whatever changed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use vswitch_config::model::{Attachment, Uplink};
use vswitch_config::names::ContainerName;
use vswitch_ports::netlink::Netlink;
