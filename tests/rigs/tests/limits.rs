//! Every limit at its edge, on real nodes: what is just allowed passes, one more is refused as documented, and whoever was refused leaves its
//! place to others.

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::Source;
use proto::v1::upload_request::{End, Header, Part};
use proto::v1::{DownloadRequest, Reason, UploadRequest};
use rigs::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, Frame, Frames, GOAWAY, HEADERS, PING, REFUSED_STREAM,
    RST_STREAM, SETTINGS, frame, headers,
};
use rigs::{Cluster, Failure, Kv, Noise, Way, call_raw, eventually, within};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

const KIB: usize = 1 << 10;
const HEADER_LIST_BYTES: usize = 16 * KIB;
const FRAME_BYTES: usize = 16 * KIB;
const RESETS: u32 = 20;
const STREAMS: u32 = 4;
const CONNECTIONS: usize = 16;
const UPLOADS: usize = 2;
const NO_SUCH_METHOD: &str = "/rustykv.v1.Kv/Dance";
const CALLS: &str = "/rustykv.v1.Kv/Calls";

/// A cluster of one, with room for few.
async fn small(test: &str) -> Cluster {
    let mut cluster = Cluster::new(test, 1, Way::Alone);
    cluster.nodes[0].config =
        format!("[limits]\nmax_streams_per_connection = {STREAMS}\nmax_connections = {CONNECTIONS}\nmax_uploads = {UPLOADS}\n");
    cluster.start();
    cluster.settled().await;
    cluster
}

fn call(stream: u32, path: &str) -> Frame {
    frame(HEADERS, END_HEADERS, stream, &headers(path, None))
}

/// The first frame of what comes back on a stream.
async fn answer(frames: &mut Frames, stream: u32) -> Frame {
    loop {
        let frame = frames.next_of(&[HEADERS, RST_STREAM, GOAWAY]).await.expect("the connection lasts");
        if frame.stream == stream || frame.kind == GOAWAY {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn what_http_carries_is_bounded() {
    let cluster = small("limits-http").await;
    let address = cluster.nodes[0].address();

    // Names and values of headers: up to the limit a request is heard, at it only it is refused, and the connection goes on.
    let mut frames = Frames::open(&address).await.unwrap();
    for (stream, bytes, heard) in [(1, HEADER_LIST_BYTES - 1, true), (3, HEADER_LIST_BYTES, false), (5, HEADER_LIST_BYTES - 1, true)] {
        let block = headers(NO_SUCH_METHOD, Some(bytes));
        let (first, rest) = block.split_at(FRAME_BYTES.min(block.len()) - 1);
        frames.send(&[frame(HEADERS, 0, stream, first), frame(CONTINUATION, END_HEADERS, stream, rest)]).await.unwrap();
        let answer = answer(&mut frames, stream).await;
        assert_eq!(answer.is_ok(), heard, "{bytes} bytes: {answer:?}");
    }

    // Headers without an end.
    let mut frames = Frames::open(&address).await.unwrap();
    let endless: Vec<Frame> = (0..64).map(|number| frame(if number == 0 { HEADERS } else { CONTINUATION }, 0, 1, &[])).collect();
    frames.send(&endless).await.unwrap();
    let ended = frames.next_of(&[GOAWAY]).await.expect("it is told why");
    assert_eq!(ended.reason(), ENHANCE_YOUR_CALM);
    assert_eq!(frames.next_of(&[HEADERS]).await, None);

    // Streams of one connection: one more is refused, until one has ended.
    let mut frames = Frames::open(&address).await.unwrap();
    let told = frames.next_of(&[SETTINGS]).await.unwrap();
    assert!(told.payload.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, STREAMS as u8]), "{told:?}");
    frames.send(&[frame(SETTINGS, ACK, 0, &[])]).await.unwrap();
    for number in 0..=STREAMS {
        let stream = 2 * number + 1;
        frames.send(&[call(stream, CALLS)]).await.unwrap();
        let answer = answer(&mut frames, stream).await;
        assert_eq!(answer.is_ok(), number < STREAMS, "{answer:?}");
        assert!(answer.is_ok() || answer.reason() == REFUSED_STREAM);
    }
    let after = 2 * STREAMS + 3;
    frames.send(&[frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), call(after, CALLS)]).await.unwrap();
    let again = answer(&mut frames, after).await;
    assert!(again.is_ok(), "{again:?}");

    // The size of a frame.
    frames.send(&[frame(DATA, 0, after, &[0; FRAME_BYTES])]).await.unwrap();
    frames.send(&[frame(PING, 0, 0, b"12345678")]).await.unwrap();
    assert!(frames.next_of(&[PING, GOAWAY]).await.is_some_and(|frame| frame.kind == PING && frame.flags == ACK));
    frames.send(&[frame(DATA, 0, after, &[0; FRAME_BYTES + 1])]).await.unwrap();
    assert_eq!(frames.next_of(&[GOAWAY]).await.unwrap().reason(), FRAME_SIZE_ERROR);

    // Streams begun and dropped at once.
    for (count, calm) in [(RESETS, true), (RESETS + 1, false)] {
        let mut frames = Frames::open(&address).await.unwrap();
        let burst: Vec<Frame> = (0..count)
            .flat_map(|number| [call(2 * number + 1, NO_SUCH_METHOD), frame(RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8])])
            .chain([frame(PING, 0, 0, b"12345678")])
            .collect();
        frames.send(&burst).await.unwrap();
        let answer = frames.next_of(&[PING, GOAWAY]).await.expect("an answer");
        assert_eq!(answer.kind == PING, calm, "{count} resets: {answer:?}");
        assert!(calm || answer.reason() == ENHANCE_YOUR_CALM);
    }

    let kv = cluster.kv(0);
    kv.set(b"key", "value").await.expect("all others are served as before");
    cluster.assert_no_panics();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn messages_and_connections_are_bounded() {
    let cluster = small("limits-messages").await;
    let node = &cluster.nodes[0];
    let kv = cluster.kv(0);

    // Exactly the limit is read, whatever comes of it; a byte more is not.
    for (path, bytes) in [
        ("/rustykv.v1.Kv/Set", 512 * KIB),
        ("/rustykv.v1.Kv/Calls", 512 * KIB),
        ("/rustykv.v1.Trust/Admit", 16 * KIB),
        ("/rustykv.v1.Admin/Status", 64 * KIB),
        ("/rustykv.v1.Raft/Identify", 8 * KIB * KIB),
    ] {
        let read = call_raw(kv.channel(), path, unknown_field(bytes)).await;
        assert!(read.as_ref().map_or_else(|error| error.code(), |_| Code::Ok) != Code::OutOfRange, "{path}: {read:?}");
        let refused = call_raw(kv.channel(), path, unknown_field(bytes + 1)).await.expect_err(path);
        assert_eq!(refused.code(), Code::OutOfRange, "{path}: {refused:?}");
    }

    // Connections: one more is closed at once, and there is room again when one goes. The channel above is one of them.
    let mut held = Vec::new();
    for _ in 1..CONNECTIONS {
        let mut frames = Frames::open(&node.address()).await.unwrap();
        assert!(frames.next_of(&[SETTINGS]).await.is_some());
        held.push(frames);
    }
    let mut beyond = TcpStream::connect(node.address()).await.unwrap();
    let closed = within(2, "it is closed", beyond.read(&mut [0; 1])).await;
    assert!(!matches!(closed, Ok(1..)), "{closed:?}");
    kv.set(b"key", "value").await.expect("whoever is in is served");
    held.pop();
    let again = async || match Frames::open(&node.address()).await {
        Ok(mut frames) => frames.next_of(&[SETTINGS]).await.is_some(),
        Err(_) => false,
    };
    eventually(5, "there is room again", again, |is_in| *is_in).await;
    cluster.assert_no_panics();
}

/// A message with nothing in it but a field that nobody knows.
fn unknown_field(bytes: usize) -> Bytes {
    // The number 1000, of bytes; then their length in four bytes of seven bits.
    let mut message = vec![0xc2, 0x3e];
    let length = bytes - message.len() - 4;
    message.extend((0..4).map(|place| (length >> (7 * place)) as u8 & 0x7f | if place < 3 { 0x80 } else { 0 }));
    message.resize(bytes, 0);
    message.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs the cluster"]
async fn whoever_takes_too_long_loses_its_place_and_whoever_is_slow_does_not() {
    let cluster = small("limits-slow").await;
    let address = cluster.nodes[0].address();
    let kv = cluster.kv(0);
    let mut large = Vec::new();
    let mut noise = Noise::new(3, 8 << 20);
    while let Some(chunk) = noise.chunk(FRAME_BYTES) {
        large.extend_from_slice(&chunk);
    }
    let client = cluster.client(Duration::from_secs(30)).await;
    client.put(b"large", Source::Bytes(large.into()), None, &mut |_, _| {}).await.expect("a large value is stored");

    let silent = async {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        ends_within(socket.read_to_end(&mut Vec::new()), 4..9, "a caller who says nothing").await;
    };
    // Nothing of it is a frame yet, so it cannot answer a ping either.
    let endless_header = async {
        let mut frames = Frames::open(&address).await.unwrap();
        frames.next_of(&[SETTINGS]).await.unwrap();
        frames.send(&[frame(SETTINGS, ACK, 0, &[]), frame(HEADERS, 0, 1, &headers(NO_SUCH_METHOD, None))]).await.unwrap();
        ends_within(last_frame(&mut frames), 10..29, "a header without an end").await;
    };
    let dead = async {
        let mut frames = Frames::open(&address).await.unwrap();
        ends_within(last_frame(&mut frames), 10..29, "a caller who answers no ping").await;
    };
    let quiet = async {
        let mut frames = Frames::open(&address).await.unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(31) {
            let next = tokio::time::timeout(Duration::from_secs(1), frames.next_of(&[PING])).await;
            if let Ok(ping) = next {
                let ping = ping.expect("who answers pings and asks nothing may stay");
                frames.send(&[Frame { flags: ACK, ..ping }]).await.unwrap();
            }
        }
    };
    let uploads = async {
        let mut slow = [(b"trickle" as &[u8], upload(&kv, b"trickle").await), (b"camera", upload(&kv, b"camera").await)];
        let third = Kv::new(&address);
        let refused = within(10, "the places are taken", async {
            loop {
                if let Err(refused) = whole_upload(&third).await {
                    return refused;
                }
                // It came first and took the place of one of the others, perhaps.
                for (key, begun) in &mut slow {
                    if begun.1.is_finished() {
                        *begun = upload(&kv, key).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        let [(_, (trickling, trickle)), (_, (filming, camera))] = slow;
        let begun = Instant::now();
        assert_eq!(refused.reason, Reason::Overloaded, "{}", refused.message);
        let sent = tokio::spawn(async move {
            let mut picture = Vec::new();
            while begun.elapsed() < Duration::from_secs(36) {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let _gone = trickling.send(part(Part::Chunk(vec![7; 100].into()))).await;
                picture.extend([1; 1_500]);
                filming.send(part(Part::Chunk(vec![1; 1_500].into()))).await.expect("a slow one is heard");
            }
            let hash = blake3::hash(&picture).as_bytes().to_vec().into();
            filming.send(part(Part::End(End { hash }))).await.unwrap();
            picture.len()
        });
        let given_up = within(60, "the trickling upload ends", trickle).await.unwrap().expect_err("it was too slow");
        let after = begun.elapsed().as_secs();
        assert_eq!(given_up.reason, Reason::TooSlow, "{}", given_up.message);
        assert!((20..36).contains(&after), "{after} s");
        whole_upload(&third).await.expect("its place is free");
        assert!(kv.get(b"trickle").await.unwrap().is_none());
        within(60, "the slow upload ends", camera).await.unwrap().expect("and is whole");
        assert_eq!(kv.digest(b"camera").await.unwrap().map(|(size, _)| size), Some(sent.await.unwrap() as u64));
    };
    let unread = async {
        let lazy = Kv::new(&address);
        let answer = lazy.service().download(DownloadRequest { key: "large".into(), ..Default::default() }).await;
        let mut answer = answer.unwrap().into_inner();
        tokio::time::sleep(Duration::from_secs(33)).await;
        let failure: Failure = loop {
            match answer.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("half a value looks like a whole one"),
                Err(status) => break status.into(),
            }
        };
        assert_eq!(failure.reason, Reason::TooSlow, "{}", failure.message);
    };
    tokio::join!(silent, endless_header, dead, quiet, uploads, unread);
    cluster.assert_no_panics();
}

/// All that comes, until the connection ends.
async fn last_frame(frames: &mut Frames) {
    while frames.next().await.is_some() {}
}

async fn ends_within<T>(end: impl Future<Output = T>, seconds: std::ops::Range<u64>, what: &str) {
    let begun = Instant::now();
    within(seconds.end, what, end).await;
    assert!(begun.elapsed().as_secs() >= seconds.start, "{what}: ended after {:?}", begun.elapsed());
}

fn part(part: Part) -> UploadRequest {
    UploadRequest { part: Some(part) }
}

type Parts = mpsc::Sender<UploadRequest>;

/// An upload over a connection of its own, begun; the parts that it is given next, and what comes of it.
async fn upload(kv: &Kv, key: &[u8]) -> (Parts, tokio::task::JoinHandle<Result<(), Failure>>) {
    let (parts, stream) = mpsc::channel(1);
    parts.send(part(Part::Header(Header { key: Bytes::copy_from_slice(key), ..Default::default() }))).await.unwrap();
    let mut service = kv.service();
    let ended = tokio::spawn(async move { Ok(service.upload(ReceiverStream::new(stream)).await.map(|_| ())?) });
    (parts, ended)
}

async fn whole_upload(kv: &Kv) -> Result<(), Failure> {
    let hash = blake3::hash(b"x").as_bytes().to_vec().into();
    let parts = [Part::Header(Header { key: "third".into(), ..Default::default() }), Part::Chunk("x".into()), Part::End(End { hash })];
    kv.service().upload(tokio_stream::iter(parts.map(part))).await?;
    Ok(())
}
