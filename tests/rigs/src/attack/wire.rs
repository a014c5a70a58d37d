//! HTTP/2 by hand, for what no library sends: frames one by one, over TLS.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::pass::Pass;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A send that stands still for so long is given up: whoever reads no more has bounded what we can cost it.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const CONTINUATION: u8 = 9;
pub const END_HEADERS: u8 = 4;

pub struct Wire {
    stream: TlsStream<TcpStream>,
}

impl Wire {
    /// Up to and with the first frame that a client sends.
    pub async fn open(pass: &Pass, node: &str) -> io::Result<Wire> {
        let greeted = timeout(CONNECT_TIMEOUT, async { pass.greet(TcpStream::connect(node).await?).await }).await;
        let mut wire = Wire { stream: greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))? };
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await?;
        Ok(wire)
    }

    /// An error once the node has ended the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = timeout(SEND_TIMEOUT, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the node has ended the connection. What it sends else is not looked at.
    pub async fn is_ended(&mut self) -> bool {
        let mut heard = [0; 4_096];
        loop {
            match timeout(Duration::ZERO, self.stream.read(&mut heard)).await {
                Err(_) => return false,
                Ok(Ok(0) | Err(_)) => return true,
                Ok(Ok(_)) => {}
            }
        }
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a gRPC call (RFC 7541): nothing in it enters a table.
pub fn call(path: &str) -> Vec<u8> {
    // :method POST, :scheme http.
    let mut block = vec![0x83, 0x86];
    // :path and :authority by their place in the static table; content-type is the 31st there.
    for (name, value) in [(&[0x04][..], path), (&[0x01], "node"), (&[0x0f, 31 - 15], "application/grpc")] {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value.as_bytes());
    }
    block.extend_from_slice(b"\x00\x02te\x08trailers");
    block
}

/// A header that nobody asked for, of so many bytes.
pub fn header(number: u64, bytes: usize) -> Vec<u8> {
    let name = format!("x-{number:08x}");
    let mut field = vec![0x00, name.len() as u8];
    field.extend_from_slice(name.as_bytes());
    // An integer with a prefix of 7 bits (RFC 7541, section 5.1).
    let mut length = bytes;
    if length < 127 {
        field.push(length as u8);
    } else {
        field.push(127);
        length -= 127;
        while length >= 128 {
            field.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        field.push(length as u8);
    }
    field.resize(field.len() + bytes, b'x');
    field
}
