//! The programs, assembled by hand: a few instructions each do not warrant a compiler.
//!
//! Calling convention: `r1` is the packet's context on entry, `r1`–`r5` are arguments of a call and lost by it,
//! `r6`–`r9` are kept, `r10` is the end of the stack, and `r0` is what the program answers.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::packet::{HOST_MARK, WIRE_MARK};

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Instruction {
    operation: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    offset: i16,
    value: i32,
}

// Answers: `enum tcx_action_base`.
/// Ask the next program; the stack goes on if there is none.
const NEXT: i32 = -1;
const DROP: i32 = 2;

// Fields of the context: offsets into `struct __sk_buff`.
const MARK: i16 = 8;
const PROTOCOL: i16 = 16;
const VLAN_TAG: i16 = 24;
const INTERFACE: i16 = 40;

// Helpers' numbers: `enum bpf_func_id`.
const MAP_LOOKUP: i32 = 1;
const REDIRECT: i32 = 23;
const LOAD_BYTES: i32 = 26;

/// To the incoming side of the interface (`BPF_F_INGRESS`).
const TO_INCOMING: i32 = 1;

const fn registers(destination: u8, source: u8) -> u8 {
    destination | source << 4
}

const fn instruction(operation: u8, registers: u8, offset: i16, value: i32) -> Instruction {
    Instruction { operation, registers, offset, value }
}

/// `destination = value`
const fn set(destination: u8, value: i32) -> Instruction {
    instruction(0xb7, registers(destination, 0), 0, value)
}

/// `destination = source`
const fn copy(destination: u8, source: u8) -> Instruction {
    instruction(0xbf, registers(destination, source), 0, 0)
}

/// `destination += value`
const fn add(destination: u8, value: i32) -> Instruction {
    instruction(0x07, registers(destination, 0), 0, value)
}

/// `destination &= value`
const fn and(destination: u8, value: i32) -> Instruction {
    instruction(0x57, registers(destination, 0), 0, value)
}

/// `destination = the 32 bits at base + offset`
const fn load(destination: u8, base: u8, offset: i16) -> Instruction {
    instruction(0x61, registers(destination, base), offset, 0)
}

/// `destination = the 16 bits at base + offset`
const fn load_half(destination: u8, base: u8, offset: i16) -> Instruction {
    instruction(0x69, registers(destination, base), offset, 0)
}

/// `the 32 bits at base + offset = source`
const fn store(base: u8, offset: i16, source: u8) -> Instruction {
    instruction(0x63, registers(base, source), offset, 0)
}

/// `the 64 bits at base + offset = value`
const fn store_long(base: u8, offset: i16, value: i32) -> Instruction {
    instruction(0x7a, registers(base, 0), offset, value)
}

/// `if register == value, skip that many instructions`
const fn if_equal(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x15, registers(register, 0), skip, value)
}

/// `if register != value, skip that many instructions`
const fn if_differs(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x55, registers(register, 0), skip, value)
}

const fn skip(count: i16) -> Instruction {
    instruction(0x05, 0, count, 0)
}

const fn call(helper: i32) -> Instruction {
    instruction(0x85, 0, 0, helper)
}

const fn exit() -> Instruction {
    instruction(0x95, 0, 0, 0)
}

/// Both marks are below 2^31.
const fn mark(mark: u32) -> i32 {
    mark.cast_signed()
}

/// A 16-bit number of a packet as a register has it once loaded.
const fn network_order(number: u16) -> i32 {
    number.to_be() as i32
}

/// Incoming: nothing reaches the host.
pub(super) fn drop_all() -> Vec<Instruction> {
    vec![set(0, DROP), exit()]
}

/// Outgoing: only what we send leaves.
pub(super) fn pass_only_ours() -> Vec<Instruction> {
    vec![load(2, 1, MARK), set(0, NEXT), if_equal(2, mark(WIRE_MARK), 1), set(0, DROP), exit()]
}

/// Outgoing: what we send to the host comes in instead.
pub(super) fn turn_round() -> Vec<Instruction> {
    vec![
        load(3, 1, MARK),
        if_differs(3, mark(HOST_MARK), 4),
        load(1, 1, INTERFACE),
        set(2, TO_INCOMING),
        call(REDIRECT),
        exit(),
        set(0, NEXT),
        exit(),
    ]
}

/// Incoming: what turned round loses our mark, which the host's rules may give a meaning.
pub(super) fn take_mark_off() -> Vec<Instruction> {
    vec![
        set(0, NEXT),
        load(2, 1, MARK),
        if_differs(2, mark(HOST_MARK), 2),
        set(2, 0),
        store(1, MARK, 2),
        exit(),
    ]
}

/// Incoming: packets of `vlan` (or of none) to an address in the map do not reach the host, nor ARP requests for
/// one.
pub(super) fn drop_addressed(map: &OwnedFd, vlan: Option<u16>) -> Vec<Instruction> {
    const ETHERNET: i32 = 14;
    const IPV4_DESTINATION: i32 = ETHERNET + 16;
    const IPV6_DESTINATION: i32 = ETHERNET + 24;
    const ARP_OPERATION: i32 = ETHERNET + 6;
    const ARP_TARGET: i32 = ETHERNET + 24;
    // The stack: the 16 bytes of the key, above 8 of scratch.
    const KEY: i16 = -16;
    const KEY_IPV4: i16 = -4;
    const SCRATCH: i16 = -24;

    let key_at = |offset: i16| [copy(3, 10), add(3, i32::from(offset))];
    let load_bytes = |length| [copy(1, 6), set(4, length), call(LOAD_BYTES)];

    let mut code = Vec::new();
    code.extend([copy(6, 1), load(2, 6, VLAN_TAG), and(2, 0x0fff)]);
    let other_vlan = code.len();
    code.push(if_differs(2, vlan.unwrap_or(0).into(), 0));
    // The key begins as ::ffff:0.0.0.0.
    code.push(store_long(10, KEY, 0));
    code.push(store_long(10, KEY + 8, i32::from_ne_bytes([0, 0, 0xff, 0xff])));
    code.push(load(7, 6, PROTOCOL));
    let ipv6 = code.len();
    code.push(if_equal(7, network_order(0x86dd), 0));
    code.push(set(2, IPV4_DESTINATION));
    let ipv4 = code.len();
    code.push(if_equal(7, network_order(0x0800), 0));
    let other_protocol = code.len();
    code.push(if_differs(7, network_order(0x0806), 0));

    // ARP: only requests (operation 1).
    code.push(set(2, ARP_OPERATION));
    code.extend(key_at(SCRATCH));
    code.extend(load_bytes(2));
    let short_arp = code.len();
    code.push(if_differs(0, 0, 0));
    code.push(load_half(2, 10, SCRATCH));
    let arp_reply = code.len();
    code.push(if_differs(2, network_order(1), 0));
    code.push(set(2, ARP_TARGET));

    // An IPv4 address at the offset in r2.
    let at_ipv4 = code.len();
    code.extend(key_at(KEY_IPV4));
    code.extend(load_bytes(4));
    let over_ipv6 = code.len();
    code.push(skip(0));

    let at_ipv6 = code.len();
    code.push(set(2, IPV6_DESTINATION));
    code.extend(key_at(KEY));
    code.extend(load_bytes(16));

    let at_lookup = code.len();
    let short = code.len();
    code.push(if_differs(0, 0, 0));
    // A load of 64 bits takes two instructions; source register 1 says that the value is a map's descriptor.
    code.push(instruction(0x18, registers(1, 1), 0, map.as_raw_fd()));
    code.push(instruction(0, 0, 0, 0));
    code.extend([copy(2, 10), add(2, i32::from(KEY)), call(MAP_LOOKUP)]);
    let absent = code.len();
    code.push(if_equal(0, 0, 0));
    code.extend([set(0, DROP), exit()]);

    let at_pass = code.len();
    code.extend([set(0, NEXT), exit()]);

    let jumps = [
        (other_vlan, at_pass),
        (ipv6, at_ipv6),
        (ipv4, at_ipv4),
        (other_protocol, at_pass),
        (short_arp, at_pass),
        (arp_reply, at_pass),
        (over_ipv6, at_lookup),
        (short, at_pass),
        (absent, at_pass),
    ];
    for (from, to) in jumps {
        // The program has fewer than 64 instructions.
        code[from].offset = i16::try_from(to - from - 1).unwrap_or(0);
    }
    code
}
