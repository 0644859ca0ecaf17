//! Interfaces, addresses and routes, by the kernel's route netlink.
//!
//! A [`Netlink`] is one socket. It works in the network namespace the thread was in when it opened the socket, whichever
//! thread uses it later. Requests are synchronous: the kernel carries a request out inside `send`, so that the answer is
//! there when `send` returns and nothing ever waits.
//!
//! Several changes travel as one batch. The kernel takes the messages of a batch one by one, goes on after one that
//! failed, always reports failures, and acknowledges only what asks for it: the last. A batch that succeeds thus costs
//! two system calls however many changes it makes.

mod addresses;
mod interface;
mod links;
mod routes;

use std::io;

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

pub use addresses::Address;
pub use interface::InterfaceSettings;
pub use links::{Link, LinkStatistics};
pub use routes::Route;

use crate::error::{Error, Result};

/// Interface index of `lo`, the same in every namespace.
pub const LOOPBACK_INDEX: u32 = 1;

/// The kernel never makes a dump's datagram larger than this.
const LARGEST_DATAGRAM: usize = 32 * 1024;
/// A dump during which the tables changed is begun again; this often, before we say that they never hold still.
const DUMP_ATTEMPTS: usize = 16;
/// Of `<linux/netlink.h>`: attributes follow the header in an `NLMSG_ERROR`.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NETLINK_HEADER: usize = 16;
/// Messages of a batch begin at multiples of this (`NLMSG_ALIGNTO`).
const ALIGNMENT: usize = 4;

/// A route netlink socket in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    /// The sequence number of the last request. Answers to others are not ours: left over from a request that failed.
    sequence: u32,
    received: Vec<u8>,
}

/// One change or query, and how to name it should it fail.
struct Request {
    message: RouteNetlinkMessage,
    /// `NLM_F_CREATE` and the like; `NLM_F_REQUEST` and `NLM_F_ACK` are added in sending.
    flags: u16,
    operation: &'static str,
    object: String,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // Answers to failed requests then carry the kernel's explanation, and no copy of the request.
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|cause| Error::Netlink {
            operation: "open",
            object: "a netlink socket".to_owned(),
            cause,
            explanation: None,
        })?;
        Ok(Self { socket, sequence: 0, received: Vec::with_capacity(LARGEST_DATAGRAM) })
    }

    /// Makes all the changes, in order, in one batch; fails with the first that failed, the others being made.
    fn change(&mut self, requests: Vec<Request>) -> Result<()> {
        let mut batch = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let last_position = requests.len().saturating_sub(1);
        let mut names = Vec::with_capacity(requests.len());
        for (position, request) in requests.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let acknowledge = if position == last_position { NLM_F_ACK } else { 0 };
            append(&mut batch, request.message, request.flags | acknowledge, self.sequence);
            names.push((request.operation, request.object));
        }
        let Some((operation, object)) = names.last() else { return Ok(()) };
        self.send(&batch).map_err(|cause| failure(operation, object, cause))?;

        let mut first_failure = None;
        loop {
            let received = self.receive().map_err(|cause| failure(operation, object, cause))?;
            for message in received {
                let position = message.header.sequence_number.wrapping_sub(first) as usize;
                let (Some((operation, object)), NetlinkPayload::Error(answer)) =
                    (names.get(position), &message.payload)
                else {
                    continue;
                };
                if answer.code.is_some() {
                    first_failure.get_or_insert(refusal(operation, object, answer, message.header.flags));
                }
                if position == last_position {
                    return first_failure.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// The objects that answer a query: one object, or with `NLM_F_DUMP` among the flags all.
    fn query(&mut self, request: Request) -> Result<Vec<RouteNetlinkMessage>> {
        let Request { message, flags, operation, object } = request;
        let flags = if flags & NLM_F_DUMP == NLM_F_DUMP { flags } else { flags | NLM_F_ACK };
        for _ in 0..DUMP_ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            append(&mut bytes, message.clone(), flags, self.sequence);
            self.send(&bytes).map_err(|cause| failure(operation, &object, cause))?;
            if let Some(found) = self.answers(operation, &object)? {
                return Ok(found);
            }
        }
        let cause = io::Error::new(io::ErrorKind::ResourceBusy, "it changes faster than it can be read");
        Err(failure(operation, &object, cause))
    }

    /// Collects what answers the last query; `None` if the kernel says that a change came in between.
    fn answers(&mut self, operation: &'static str, object: &str) -> Result<Option<Vec<RouteNetlinkMessage>>> {
        let mut found = Vec::new();
        let mut interrupted = false;
        loop {
            for message in self.receive().map_err(|cause| failure(operation, object, cause))? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    NetlinkPayload::Error(answer) if answer.code.is_some() => {
                        return Err(refusal(operation, object, &answer, message.header.flags));
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => {
                        return Ok((!interrupted).then_some(found));
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes, 0).map(|_sent| ())
    }

    /// The messages of the next datagram.
    fn receive(&mut self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        self.received.clear();
        self.socket.recv(&mut self.received, 0)?;
        let mut messages = Vec::new();
        let mut rest = self.received.as_slice();
        while rest.len() >= NETLINK_HEADER {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // `deserialize` has checked that the length is within `rest` and at least the header.
            let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
            messages.push(message);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(messages)
    }
}

/// Appends a message to a batch.
fn append(batch: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = batch.len();
    batch.resize((start + message.buffer_len()).next_multiple_of(ALIGNMENT), 0);
    message.serialize(&mut batch[start..]);
}

fn failure(operation: &'static str, object: &str, cause: io::Error) -> Error {
    Error::Netlink { operation, object: object.to_owned(), cause, explanation: None }
}

fn refusal(operation: &'static str, object: &str, answer: &ErrorMessage, flags: u16) -> Error {
    Error::Netlink {
        operation,
        object: object.to_owned(),
        cause: answer.to_io(),
        explanation: explanation(answer, flags),
    }
}

/// The kernel's extended acknowledgement: a NUL-terminated text in an attribute behind the request's header.
fn explanation(answer: &ErrorMessage, flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let attributes = answer.header.get(NETLINK_HEADER..)?;
    let text = NlasIterator::new(attributes)
        .filter_map(std::result::Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)?;
    Some(String::from_utf8_lossy(text.value()).trim_end_matches('\0').to_owned())
}
