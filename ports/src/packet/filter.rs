//! Which frames of an interface a packet socket takes, as classic BPF: the kernel runs it before it queues a
//! frame, so what is not ours costs neither memory nor a wake-up.

use std::net::Ipv4Addr;

use libc::sock_filter;

use super::{HOST_MARK, Side, WIRE_MARK};

/// EtherType of an 802.1Q tag.
pub(super) const TPID_CUSTOMER: u16 = 0x8100;
/// EtherType of an 802.1ad (provider) tag.
pub(super) const TPID_PROVIDER: u16 = 0x88a8;

/// Where the EtherType is in a frame, and the tag control word behind it if it is a tag.
const ETHERTYPE: u32 = 12;
const TAG_CONTROL: u32 = 14;
const VLAN_ID: u32 = 0x0fff;

/// `PACKET_OUTGOING`: the frame is on its way out of the interface.
const OUTGOING: u32 = 4;

/// Longer than any frame: the whole of it.
const WHOLE: u32 = u32::MAX;

/// Words the kernel keeps beside the frame; these offsets are negative on purpose (`SKF_AD_OFF`).
const fn beside(word: i32) -> u32 {
    (libc::SKF_AD_OFF + word).cast_unsigned()
}

/// What a jump goes to.
#[derive(Clone, Copy)]
enum To {
    Next,
    Take,
    Leave,
    /// This many instructions after the next.
    Skip(u8),
}

/// A program under construction. What reaches its end is taken.
struct Program(Vec<(u32, u32, To, To)>);

impl Program {
    fn load_beside(&mut self, word: i32) {
        self.0.push((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, beside(word), To::Next, To::Next));
    }

    fn load_word(&mut self, offset: u32) {
        self.0.push((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, To::Next, To::Next));
    }

    fn load_half(&mut self, offset: u32) {
        self.0.push((libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, offset, To::Next, To::Next));
    }

    fn load_byte(&mut self, offset: u32) {
        self.0.push((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, offset, To::Next, To::Next));
    }

    fn and(&mut self, mask: u32) {
        self.0.push((libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask, To::Next, To::Next));
    }

    fn if_equal(&mut self, value: u32, then: To, otherwise: To) {
        self.0.push((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, then, otherwise));
    }

    fn if_any_bit(&mut self, mask: u32, then: To, otherwise: To) {
        self.0.push((libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, mask, then, otherwise));
    }

    /// The IPv4 header's length into the index register.
    fn index_past_ipv4(&mut self, header: u32) {
        self.0.push((libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, header, To::Next, To::Next));
    }

    fn load_half_indexed(&mut self, offset: u32) {
        self.0.push((libc::BPF_LD | libc::BPF_H | libc::BPF_IND, offset, To::Next, To::Next));
    }

    fn assemble(self) -> Vec<sock_filter> {
        let length = self.0.len();
        let distance = |from: usize, to: To| {
            let target = match to {
                To::Next => from + 1,
                To::Skip(count) => from + 1 + usize::from(count),
                To::Take => length,
                To::Leave => length + 1,
            };
            // Programs here are far shorter than 255 instructions.
            u8::try_from(target - from - 1).unwrap_or(u8::MAX)
        };
        let mut code: Vec<_> = self
            .0
            .iter()
            .enumerate()
            .map(|(at, &(operation, k, then, otherwise))| {
                instruction(operation, distance(at, then), distance(at, otherwise), k)
            })
            .collect();
        code.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, WHOLE));
        code.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
        code
    }
}

fn instruction(operation: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // Operation codes are below 256.
    sock_filter { code: u16::try_from(operation).unwrap_or(0), jt, jf, k }
}

/// Takes nothing: for a socket that is not ready yet.
pub(super) fn nothing() -> Vec<sock_filter> {
    vec![instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0)]
}

/// What a port's socket takes.
pub(super) fn port(side: Side, vlan: Option<u16>) -> Vec<sock_filter> {
    let mut program = Program(Vec::new());
    direction(&mut program, side);
    if side != Side::Pair {
        tag(&mut program, vlan);
    }
    program.assemble()
}

/// Incoming frames that we did not send to the host ourselves, or outgoing ones that did not come from us.
fn direction(program: &mut Program, side: Side) {
    program.load_beside(libc::SKF_AD_PKTTYPE);
    match side {
        Side::Exclusive | Side::Wire | Side::Pair => program.if_equal(OUTGOING, To::Leave, To::Next),
        Side::Host => program.if_equal(OUTGOING, To::Next, To::Leave),
    }
    // What one of our sockets sends passes the others of the interface too.
    let ours = if side == Side::Host { WIRE_MARK } else { HOST_MARK };
    program.load_beside(libc::SKF_AD_MARK);
    program.if_equal(ours, To::Leave, To::Next);
}

/// Frames of one VLAN, or of none. The tag is beside the frame where the kernel took it off, and in it where the
/// kernel put it back for a device that cannot. VLAN 0 is no VLAN but a priority (IEEE 802.1Q §6.9).
fn tag(program: &mut Program, vlan: Option<u16>) {
    let wanted = u32::from(vlan.unwrap_or(0));
    program.load_beside(libc::SKF_AD_VLAN_TAG_PRESENT);
    program.if_equal(0, To::Skip(5), To::Next);
    // Beside it.
    program.load_beside(libc::SKF_AD_VLAN_TPID);
    program.if_equal(u32::from(TPID_CUSTOMER), To::Next, To::Leave);
    program.load_beside(libc::SKF_AD_VLAN_TAG);
    program.and(VLAN_ID);
    program.if_equal(wanted, To::Take, To::Leave);
    // In it, or nowhere.
    program.load_half(ETHERTYPE);
    if vlan.is_some() {
        program.if_equal(u32::from(TPID_CUSTOMER), To::Next, To::Leave);
        program.load_half(TAG_CONTROL);
        program.and(VLAN_ID);
        program.if_equal(wanted, To::Take, To::Leave);
    } else {
        program.if_equal(u32::from(TPID_CUSTOMER), To::Leave, To::Next);
        program.if_equal(u32::from(TPID_PROVIDER), To::Leave, To::Take);
    }
}

/// Incoming, untagged: UDP over IPv4 to `port`, whole or the first fragment, and ARP that names `address` as its
/// sender's or as the one that is looked for.
pub(super) fn client(port: u16, address: Option<Ipv4Addr>) -> Vec<sock_filter> {
    const IPV4: u32 = 14;
    const ARP_SENDER: u32 = 28;
    const ARP_TARGET: u32 = 38;
    let mut program = Program(Vec::new());
    program.load_beside(libc::SKF_AD_PKTTYPE);
    program.if_equal(OUTGOING, To::Leave, To::Next);
    program.load_beside(libc::SKF_AD_VLAN_TAG_PRESENT);
    program.if_equal(0, To::Next, To::Leave);
    program.load_half(ETHERTYPE);
    if let Some(address) = address.map(Ipv4Addr::to_bits) {
        program.if_equal(0x0806, To::Next, To::Skip(4));
        program.load_word(ARP_SENDER);
        program.if_equal(address, To::Take, To::Next);
        program.load_word(ARP_TARGET);
        program.if_equal(address, To::Take, To::Leave);
    }
    program.if_equal(0x0800, To::Next, To::Leave);
    program.load_byte(IPV4 + 9);
    program.if_equal(17, To::Next, To::Leave);
    program.load_half(IPV4 + 6);
    program.if_any_bit(0x1fff, To::Leave, To::Next);
    program.index_past_ipv4(IPV4);
    program.load_half_indexed(IPV4 + 2);
    program.if_equal(port.into(), To::Take, To::Leave);
    program.assemble()
}
