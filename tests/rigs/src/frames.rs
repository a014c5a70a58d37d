//! HTTP/2 frame by frame: for what no library would send. It answers nothing by itself, not even a ping.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const REFUSED_STREAM: u32 = 7;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const ENHANCE_YOUR_CALM: u32 = 11;

const HEAD_BYTES: usize = 9;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub struct Frames {
    socket: TcpStream,
}

impl Frame {
    /// The number that RST_STREAM and GOAWAY give as their reason.
    pub fn reason(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("a reason has four bytes"))
    }

    /// Whether these headers begin an answer of HTTP's kind "200", whatever gRPC says in it.
    pub fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }
}

impl Frames {
    /// Connected, with the preface and empty settings sent.
    pub async fn open(address: &str) -> io::Result<Frames> {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        socket.write_all(&[PREFACE, &bytes(&frame(SETTINGS, 0, 0, &[]))].concat()).await?;
        Ok(Frames { socket })
    }

    /// All at once.
    pub async fn send(&mut self, frames: &[Frame]) -> io::Result<()> {
        self.socket.write_all(&frames.iter().flat_map(bytes).collect::<Vec<u8>>()).await
    }

    /// The next frame; none once the other end has closed the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; HEAD_BYTES];
        self.socket.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.socket.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().expect("four bytes"));
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of one of these kinds, within seconds; none if the connection closes first.
    pub async fn next_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        let found = async {
            loop {
                let frame = self.next().await?;
                if kinds.contains(&frame.kind) {
                    return Some(frame);
                }
            }
        };
        timeout(Duration::from_secs(10), found).await.unwrap_or_else(|_| panic!("neither a frame of {kinds:?} nor an end"))
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
    Frame { kind, flags, stream, payload: payload.to_vec() }
}

/// The block of headers of a gRPC call; filled up with one more until the list has this size, as HTTP/2 counts it (RFC 9113, section 6.5.2).
pub fn headers(path: &str, list_bytes: Option<usize>) -> Vec<u8> {
    let mut block = Vec::new();
    let mut size = 0;
    // Indexed: POST, http.
    block.extend([0x83, 0x86]);
    size += ":method".len() + "POST".len() + 32 + ":scheme".len() + "http".len() + 32;
    // Literals with an indexed name (path, authority), then with their names.
    for (index, name, value) in [(4, ":path", path), (1, ":authority", "a")] {
        block.push(index);
        string(&mut block, value.as_bytes());
        size += name.len() + value.len() + 32;
    }
    let mut add = |name: &str, value: &[u8]| {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value);
        size += name.len() + value.len() + 32;
    };
    add("content-type", b"application/grpc");
    add("te", b"trailers");
    if let Some(list_bytes) = list_bytes {
        add("x", &[]);
        let rest = list_bytes - size;
        block.truncate(block.len() - 1);
        string(&mut block, &vec![b'x'; rest]);
    }
    block
}

fn string(block: &mut Vec<u8>, bytes: &[u8]) {
    // An integer with a prefix of seven bits (RFC 7541, section 5.1).
    let mut rest = bytes.len();
    if rest < 127 {
        block.push(rest as u8);
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(bytes);
}

fn bytes(frame: &Frame) -> Vec<u8> {
    let length = (frame.payload.len() as u32).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([frame.kind, frame.flags]);
    bytes.extend(frame.stream.to_be_bytes());
    bytes.extend(&frame.payload);
    bytes
}
