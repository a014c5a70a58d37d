//! The cable between a board and the bridge: carries every frame both ways, except where it is told to be a bad network.
//!
//! - What a board must not hear from another is dropped where it would arrive, whatever it is: TCP, ARP or multicast. So one direction
//!   between two boards can be cut, and everybody else still reaches both.
//! - Frames that are delayed keep their order, as on Wi-Fi, where a frame waits for those before it.
//! - A cable holds at most [`FRAMES_WAITING`] frames each way; what comes then waits in the sender's kernel, which drops what its queue cannot hold.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::frame::{Mac, names, source};

/// An Ethernet frame of 1,500 bytes and its head.
const FRAME_BYTES: usize = 2_048;
const FRAMES_WAITING: usize = 4_096;

/// How the network is at one board's cable.
#[derive(Debug, Default)]
pub struct Weather {
    /// Whom the board does not hear.
    pub deaf_to: BTreeSet<Mac>,
    /// Each frame to the board takes longer by up to this.
    pub jitter: Duration,
    /// Addresses that no frame from this board should speak of.
    pub watched: BTreeSet<Ipv4Addr>,
    /// Frames from this board that spoke of a watched address.
    pub spoken: u64,
    /// Frames that arrived at this board.
    pub arrived: u64,
}

/// The two ends of one cable.
pub struct Cable {
    pub board: File,
    pub bridge: File,
    pub weather: Arc<Mutex<Weather>>,
}

impl Cable {
    /// Carries frames until dropped.
    pub async fn carry(self) -> io::Result<()> {
        let (board, bridge) = (watch(self.board)?, watch(self.bridge)?);
        let mut random = Random::new();
        let to_board = |frame: &[u8]| {
            let mut weather = self.weather.lock().unwrap();
            if weather.deaf_to.contains(&source(frame)) {
                return None;
            }
            weather.arrived += 1;
            Some(weather.jitter.mul_f64(random.fraction()))
        };
        let from_board = |frame: &[u8]| {
            let mut weather = self.weather.lock().unwrap();
            if weather.watched.iter().any(|address| names(frame, *address)) {
                weather.spoken += 1;
            }
            Some(Duration::ZERO)
        };
        tokio::try_join!(pump(&bridge, &board, to_board), pump(&board, &bridge, from_board))?;
        Ok(())
    }
}

#[allow(unsafe_code)]
fn watch(end: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: a file keeps its descriptor, the same one, until it is dropped.
    Ok(unsafe { AsyncFd::register(end) }?)
}

/// `delay`: of this frame; `None` loses it.
async fn pump(from: &AsyncFd<File>, to: &AsyncFd<File>, mut delay: impl FnMut(&[u8]) -> Option<Duration>) -> io::Result<()> {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut frame = [0; FRAME_BYTES];
    loop {
        let due = waiting.front().map_or_else(Instant::now, |(due, _)| *due);
        tokio::select! {
            read = from.async_io(Interest::READABLE, |mut file| file.read(&mut frame)), if waiting.len() < FRAMES_WAITING => {
                let frame = &frame[..read?];
                if let Some(delay) = delay(frame) {
                    // Not before the one in front of it.
                    let due = (Instant::now() + delay).max(waiting.back().map_or_else(Instant::now, |(due, _)| *due));
                    waiting.push_back((due, frame.to_vec()));
                }
            }
            () = sleep_until(due), if !waiting.is_empty() => {}
        }
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let (_, frame) = waiting.pop_front().expect("just seen");
            // An interface that is down takes none: lost, as on any network.
            let _ = to.get_ref().write(&frame);
        }
    }
}

/// xorshift64*: jitter needs no more.
struct Random(u64);

impl Random {
    fn new() -> Random {
        use std::hash::{BuildHasher, RandomState};
        Random(RandomState::new().hash_one(0) | 1)
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}
