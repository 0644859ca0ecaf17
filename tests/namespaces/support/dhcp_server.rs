//! A DHCP server that grants what it is told to, and remembers what it was asked.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vswitch_ports::netns::NetNs;

use super::eventually;

pub(crate) const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
pub(crate) const REQUEST: u8 = 3;
pub(crate) const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// How often it looks whether it shall end.
const GLANCE: Duration = Duration::from_millis(100);

/// What it grants. A client that asks for another address is refused.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) address: Ipv4Addr,
    /// Further options, as they are sent.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
}

/// What a client said.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: u8,
    /// Its own address, zero while it has none.
    pub(crate) own: Ipv4Addr,
    /// The one it would like or declines.
    pub(crate) address: Option<Ipv4Addr>,
}

/// Runs until dropped.
pub(crate) struct DhcpServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    own: Ipv4Addr,
    everybody: Ipv4Addr,
    grant: Mutex<Grant>,
    heard: Mutex<Vec<Asked>>,
    ends: AtomicBool,
}

impl DhcpServer {
    /// Serves in `netns`, whose address on the link is `own` of a /24.
    pub(crate) fn start(netns: &NetNs, own: Ipv4Addr, grant: Grant) -> Self {
        let socket = netns.within(|| UdpSocket::bind("0.0.0.0:67")).unwrap().unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(GLANCE)).unwrap();
        let [a, b, c, _] = own.octets();
        let shared = Arc::new(Shared {
            own,
            everybody: Ipv4Addr::new(a, b, c, 255),
            grant: Mutex::new(grant),
            heard: Mutex::default(),
            ends: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || serving.serve(&socket));
        Self { shared, thread: Some(thread) }
    }

    /// Grants this from now on.
    pub(crate) fn grant(&self, grant: Grant) {
        *self.shared.grant.lock().unwrap() = grant;
    }

    /// Everything it heard so far, in order.
    pub(crate) fn heard(&self) -> Vec<Asked> {
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has heard `count` messages like this.
    #[track_caller]
    pub(crate) fn hears(&self, what: &str, count: usize, like: impl Fn(&Asked) -> bool) {
        eventually(what, || (self.heard().iter().filter(|asked| like(asked)).count() >= count).then_some(()));
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if thread::panicking() {
            eprintln!("--- the DHCP server heard\n{:#?}", self.heard());
        } else {
            assert!(ended.is_none_or(|ended| ended.is_ok()), "the DHCP server panicked");
        }
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut buffer = [0; 1500];
        while !self.ends.load(Ordering::Relaxed) {
            let Ok(length) = socket.recv(&mut buffer) else { continue };
            let message = &buffer[..length];
            let asked = read(message);
            let grant = self.grant.lock().unwrap().clone();
            self.heard.lock().unwrap().push(asked.clone());
            let wanted = asked.address.unwrap_or(asked.own);
            let answer = match asked.kind {
                DISCOVER => OFFER,
                REQUEST if wanted == grant.address => ACK,
                REQUEST => NAK,
                _ => continue,
            };
            // A client that has its address is reached there, which takes ARP.
            let to = if asked.own.is_unspecified() { self.everybody } else { asked.own };
            let written = self.answer(answer, message, &grant);
            // The link may just be going away.
            let _ = socket.send_to(&written, (to, 68));
        }
    }

    /// RFC 2131 §3, table 3.
    fn answer(&self, kind: u8, asked: &[u8], grant: &Grant) -> Vec<u8> {
        let mut message = vec![0; 236];
        message[..3].copy_from_slice(&[2, 1, 6]);
        message[4..8].copy_from_slice(&asked[4..8]);
        message[28..44].copy_from_slice(&asked[28..44]);
        message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind, 54, 4]);
        message.extend(self.own.octets());
        if kind != NAK {
            message[16..20].copy_from_slice(&grant.address.octets());
            message.extend([1, 4, 255, 255, 255, 0]);
            for (code, content) in &grant.options {
                message.extend([*code, u8::try_from(content.len()).unwrap()]);
                message.extend(content);
            }
        }
        message.push(255);
        message
    }
}

fn read(message: &[u8]) -> Asked {
    let address = |bytes: &[u8]| Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap());
    assert_eq!((message[0], &message[236..240]), (1, &[0x63, 0x82, 0x53, 0x63][..]), "a client's message");
    Asked {
        kind: option(message, 53).unwrap()[0],
        own: address(&message[12..16]),
        address: option(message, 50).map(address),
    }
}

fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = &message[240..];
    loop {
        match rest {
            [255, ..] | [] => return None,
            [0, behind @ ..] => rest = behind,
            [code, length, behind @ ..] => {
                let (content, behind) = behind.split_at(usize::from(*length));
                if *code == wanted {
                    return Some(content);
                }
                rest = behind;
            }
            [_] => panic!("half an option"),
        }
    }
}
