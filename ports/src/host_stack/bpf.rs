//! The `bpf` system call, as far as programs on tcx hooks need it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long, c_uint};

use super::program::Instruction;

// `enum bpf_cmd`.
const MAP_CREATE: c_int = 0;
const MAP_UPDATE: c_int = 2;
const MAP_DELETE: c_int = 3;
const PROG_LOAD: c_int = 5;
const LINK_CREATE: c_int = 28;

/// `BPF_MAP_TYPE_HASH`.
const HASH_MAP: u32 = 1;
/// `BPF_F_NO_PREALLOC`: an entry takes memory when it is made.
const NO_PREALLOC: u32 = 1;
/// `BPF_PROG_TYPE_SCHED_CLS`.
const TRAFFIC_PROGRAM: u32 = 3;

/// Where a program hangs: `enum bpf_attach_type`.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    /// `BPF_TCX_INGRESS`
    Incoming = 46,
    /// `BPF_TCX_EGRESS`
    Outgoing = 47,
}

// The parts of `union bpf_attr` up to the last field we set. The kernel takes what is behind for zero.

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct MapEntry {
    map: u32,
    _padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    hook: u32,
    flags: u32,
}

/// # Safety
/// `T` must be laid out as the command's part of `union bpf_attr`, and the pointers in it must be to memory of the
/// size that the command reads.
unsafe fn bpf<T>(command: c_int, attributes: &T) -> io::Result<c_long> {
    let size = c_uint::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads `size` bytes of attributes, which outlive the call; for what they point to, the
    // caller answers.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// # Safety
/// As for [`bpf`], and the command must answer a new descriptor.
unsafe fn bpf_descriptor<T>(command: c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller says.
    let fd = c_int::try_from(unsafe { bpf(command, attributes) }?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the descriptor was just made (close-on-exec, as all of bpf's are) and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: &OwnedFd) -> u32 {
    // An open descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

fn address<T: ?Sized>(of: &T) -> u64 {
    (&raw const *of).cast::<()>().expose_provenance() as u64
}

/// Loads a program, if the kernel finds it safe.
pub(super) fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let count = u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let attributes = ProgramLoad {
        kind: TRAFFIC_PROGRAM,
        count,
        instructions: address(instructions),
        licence: address(c"Dual MIT/GPL"),
    };
    // SAFETY: the layout is that of BPF_PROG_LOAD; the instructions and the NUL-terminated text outlive the call.
    unsafe { bpf_descriptor(PROG_LOAD, &attributes) }
}

/// Hangs a program on an interface of the calling thread's namespace, behind those that are there, until the
/// descriptor returned is closed.
pub(super) fn attach(program: &OwnedFd, interface: u32, hook: Hook) -> io::Result<OwnedFd> {
    let attributes = LinkCreate { program: number(program), interface, hook: hook as u32, flags: 0 };
    // SAFETY: the layout is that of BPF_LINK_CREATE, without pointers.
    unsafe { bpf_descriptor(LINK_CREATE, &attributes) }
}

/// An empty set of 16-byte keys.
pub(super) fn address_map(entries: u32) -> io::Result<OwnedFd> {
    let attributes = MapCreate { kind: HASH_MAP, key_bytes: 16, value_bytes: 4, entries, flags: NO_PREALLOC };
    // SAFETY: the layout is that of BPF_MAP_CREATE, without pointers.
    unsafe { bpf_descriptor(MAP_CREATE, &attributes) }
}

/// Adds a key to a set made by [`address_map`].
pub(super) fn insert(map: &OwnedFd, key: &[u8; 16]) -> io::Result<()> {
    let value = 1_u32;
    let entry =
        MapEntry { map: number(map), _padding: 0, key: address(key), value: address(&value), flags: 0 };
    // SAFETY: the layout is that of BPF_MAP_UPDATE_ELEM; key and value have the sizes the map was made with, and
    // outlive the call.
    unsafe { bpf(MAP_UPDATE, &entry) }.map(drop)
}

/// Takes a key out of a set made by [`address_map`].
pub(super) fn remove(map: &OwnedFd, key: &[u8; 16]) -> io::Result<()> {
    let entry = MapEntry { map: number(map), _padding: 0, key: address(key), value: 0, flags: 0 };
    // SAFETY: the layout is that of BPF_MAP_DELETE_ELEM, which reads only the key and wants zero behind it; the key
    // has the size the map was made with, and outlives the call.
    match unsafe { bpf(MAP_DELETE, &entry) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}
