//! An Ethernet interface whose far end is a file: what the namespace sends is read from it, what is written to it arrives there.

use std::fs::File;
use std::io;

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use super::namespace::Namespace;

const DEVICE: &str = "/dev/net/tun";
/// From linux/if_tun.h.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const IFF_TAP: u16 = 0x0002;
/// Frames as they are, without a header in front.
const IFF_NO_PI: u16 = 0x1000;
const NAME_BYTES: usize = 16;

/// `struct ifreq`, as far as it is used here; at least as long as the kernel's.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_BYTES],
    flags: u16,
    rest: [u8; 22],
}

/// Makes the interface `name` in `namespace`, down and without addresses; it is gone when the file is closed. The file never blocks.
pub fn open_tap(namespace: &Namespace, name: &str) -> io::Result<File> {
    assert!(name.len() < NAME_BYTES, "{name} is too long for an interface");
    let mut request = InterfaceRequest { name: [0; NAME_BYTES], flags: IFF_TAP | IFF_NO_PI, rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    namespace.run(|| {
        let file = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        become_interface(&file, &mut request)?;
        Ok(file.into())
    })
}

#[allow(unsafe_code)]
fn become_interface(file: &impl std::os::fd::AsFd, request: &mut InterfaceRequest) -> io::Result<()> {
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, for which there is room.
    unsafe { ioctl(file, Updater::<TUNSETIFF, InterfaceRequest>::new(request)) }.map_err(io::Error::from)
}
