//! A network of its own: interfaces, addresses, routes and ports that nobody outside it sees.
//!
//! It has no name, so that nothing has to be removed: the kernel takes it away, with all that is in it, once the last process in it has ended and
//! the last [`Namespace`] is dropped, also when this program is killed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// With a loopback interface that is up, and nothing else. Needs root.
    pub fn new() -> io::Result<Namespace> {
        let file = thread::spawn(|| -> io::Result<File> {
            leave_network()?;
            File::open("/proc/thread-self/ns/net")
        });
        let namespace = Namespace { file: Arc::new(file.join().expect("it does not panic")?) };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Does `work` inside, on a thread of its own: sockets, threads and processes that it makes belong here.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter its own namespace");
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// `ip` with one command a line, all of which must work.
    pub fn ip(&self, commands: &str) -> io::Result<()> {
        self.run(|| {
            let mut command = Command::new("ip");
            let mut ip = command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
            ip.stdin.take().expect("piped").write_all(commands.as_bytes())?;
            let output = ip.wait_with_output()?;
            let complaint = || io::Error::other(format!("ip: {commands}: {}", String::from_utf8_lossy(&output.stderr).trim()));
            if output.status.success() { Ok(()) } else { Err(complaint()) }
        })
    }
}

#[allow(unsafe_code)]
fn leave_network() -> io::Result<()> {
    // SAFETY: only a new table of file descriptors would be a danger to others, and none is asked for.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}
