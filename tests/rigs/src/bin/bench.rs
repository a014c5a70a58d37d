//! `cargo xtask bench`: measures a cluster of this machine's making, and another store beside it.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use rigs::{
    Cluster, Memory,
    bench::{
        Connections, Corpus, Etcd, Figures, IMAGE_BYTES, KEY_BYTES, KEYS, Kind, PAYLOAD_BYTES, RustyKv, Store, Table, Until, VALUE_BYTES,
        Way, closed_loop, failovers, handshakes, idle, row, rss_bytes, uploads, written_bytes_at_rest,
    },
};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str =
    "usage: bench [--tls] [--seconds N] [--clients N,N...] [--only PART,PART...] [--failovers N] [--unary] [--beside-etcd PROGRAM]
       bench idle [--seconds N]
--tls: a closed cluster beside an open one; handshakes too
parts: writes reads each uploads failover; each: writes and reads again, with a connection per client";

const PARTS: [&str; 5] = ["writes", "reads", "each", "uploads", "failover"];
const CLIENTS: [usize; 3] = [1, 64, 500];
const CONNECTIONS: usize = 8;
/// Of each measurement.
const SECONDS: u64 = 10;
const IDLE_SECONDS: u64 = 120;
/// Memory is read after at least so many writes.
const WRITES_MIN: u64 = 170_000;
/// Reads want something to read.
const READABLE_MIN: u64 = 20_000;
const FILL_CLIENTS: usize = 256;
const IMAGES_TOGETHER: u64 = 4;
const IMAGES: u64 = 24;
const IMAGES_ALONE: u64 = 12;

struct Plan {
    seconds: u64,
    clients: Vec<usize>,
    parts: Vec<String>,
    failovers: u64,
    way: Way,
    etcd: Option<PathBuf>,
    idle: bool,
    tls: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let plan = match parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(complaint) => {
            eprintln!("bench: {complaint}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Whatever was started ends with the future that started it, and takes its files along.
    tokio::select! {
        code = run(plan) => code,
        () = interrupted() => ExitCode::from(130),
    }
}

async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be waited for");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be waited for");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn run(plan: Plan) -> ExitCode {
    if plan.idle {
        idle(plan.seconds).await;
        return ExitCode::SUCCESS;
    }
    println!("timing profile: the default one (heartbeat 50 ms, election 150-300 ms)");
    println!("{KEY_BYTES} B keys and {VALUE_BYTES} B values of random bytes; {KEYS} keys, each written once before any is written again");
    let theirs = match &plan.etcd {
        None => None,
        Some(program) => match Etcd::start(program).await {
            Ok(etcd) => {
                println!("beside it: etcd {}, over unary calls, as its own client does", Etcd::version(program));
                Some(measure(&etcd, &plan).await)
            }
            Err(reason) => {
                eprintln!("bench: etcd did not start: {reason}");
                return ExitCode::FAILURE;
            }
        },
    };
    if plan.tls {
        beside_tls(&plan).await;
        return ExitCode::SUCCESS;
    }
    let mut cluster = Cluster::of_three("bench").await;
    let ours = measure(&RustyKv::new(&cluster, plan.way).await, &plan).await;
    let mut table = Table::new("rusty-kv", "etcd");
    compare(&mut table, &ours, theirs.as_ref());
    if plan.does("uploads") {
        measure_uploads(&mut table, &cluster).await;
    }
    if plan.does("failover") && plan.failovers > 0 {
        let gaps = failovers(&mut cluster, plan.failovers).await;
        let ms = |gap: Duration| gap.as_secs_f64() * 1e3;
        table.add(format!("failover median of {} kills, ms", plan.failovers), ms(gaps[gaps.len() / 2]), None, "< 500");
        table.add("failover worst, ms", ms(gaps[gaps.len() - 1]), None, "< 1500");
    }
    table.print();
    ExitCode::SUCCESS
}

/// What encryption and proof cost.
async fn beside_tls(plan: &Plan) {
    let without = {
        let open = Cluster::of_three("bench").await;
        measure(&RustyKv::new(&open, Way::Library).await, plan).await
    };
    let closed = Cluster::closed_of_three("bench-tls").await;
    let with = measure(&RustyKv::new(&closed, Way::Library).await, plan).await;
    let mut table = Table::new("with TLS", "without");
    for (at, (kind, clients, connections, figures)) in with.runs.iter().enumerate() {
        let what = format!("{} {clients} clients, {}", kind.name(), connections.name(*clients));
        let beside = without.runs[at].3;
        table.add(format!("{what}, per s"), figures.per_second, Some(beside.per_second), "");
        let ms = |figures: Figures| figures.p99.as_secs_f64() * 1e3;
        table.add(format!("{what}, p99 ms"), ms(*figures), Some(ms(beside)), "");
    }
    if plan.does("uploads") {
        measure_uploads(&mut table, &closed).await;
    }
    let pass = closed.pass().expect("the cluster is closed");
    let greeted = handshakes(&closed.nodes[0].address(), &pass, Duration::from_secs(plan.seconds)).await;
    println!("handshakes: {:.0} per s, p99 {:.2} ms, {} failed", greeted.per_second, greeted.p99.as_secs_f64() * 1e3, greeted.failed);
    table.add("handshakes with one node, per s", greeted.per_second, None, "");
    table.print();
}

impl Plan {
    fn does(&self, part: &str) -> bool {
        self.parts.iter().any(|wanted| wanted == part)
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Plan, String> {
    let all = PARTS.map(String::from).into();
    let mut plan =
        Plan { seconds: 0, clients: CLIENTS.into(), parts: all, failovers: 20, way: Way::Library, etcd: None, idle: false, tls: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "idle" => {
                plan.idle = true;
                continue;
            }
            "--tls" => {
                plan.tls = true;
                continue;
            }
            "--unary" => {
                plan.way = Way::Unary;
                continue;
            }
            _ => {}
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(|| format!("{word} {text}: no number"));
        match word.as_str() {
            "--seconds" => plan.seconds = number(&value)?,
            "--failovers" => plan.failovers = value.parse().map_err(|_| format!("--failovers {value}: no number"))?,
            "--clients" => {
                plan.clients = value.split(',').map(|text| number(text).map(|count| count as usize)).collect::<Result<_, _>>()?
            }
            "--only" => plan.parts = value.split(',').map(String::from).collect(),
            "--beside-etcd" => plan.etcd = Some(value.into()),
            _ => return Err(format!("{word}?")),
        }
    }
    if plan.seconds == 0 {
        plan.seconds = if plan.idle { IDLE_SECONDS } else { SECONDS };
    }
    match plan.parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        Some(unknown) => Err(format!("no part '{unknown}'")),
        None => Ok(plan),
    }
}

/// What one store came to.
#[derive(Default)]
struct Measured {
    runs: Vec<(Kind, usize, Connections, Figures)>,
    /// Bytes per payload byte and node, over all writes.
    written_per_byte: Option<f64>,
    /// Of the largest node.
    rss: Option<u64>,
}

async fn measure(store: &impl Store, plan: &Plan) -> Measured {
    let corpus = Arc::new(Corpus::default());
    let mut measured = Measured::default();
    let time = Until::Time(Duration::from_secs(plan.seconds));
    let shared = Connections::Shared(CONNECTIONS);
    let pids = store.pids();
    if plan.does("writes") {
        let before = written_bytes_at_rest(&pids).await;
        if plan.clients == CLIENTS {
            // First, so that every run is measured at the same size, however fast the store.
            closed_loop(store, &corpus, Kind::Writes, FILL_CLIENTS, shared, Until::Count(WRITES_MIN)).await;
            measured.weigh(store, &corpus, before).await;
        }
        for clients in &plan.clients {
            measured.run(store, &corpus, Kind::Writes, *clients, shared, time).await;
        }
        let first = (measured.written_per_byte, measured.rss);
        measured.weigh(store, &corpus, before).await;
        if plan.clients == CLIENTS {
            (measured.written_per_byte, measured.rss) = first;
        }
    }
    let wants_reads = plan.does("reads") || plan.does("each");
    let unread = READABLE_MIN.saturating_sub(corpus.written());
    if wants_reads && unread > 0 {
        closed_loop(store, &corpus, Kind::Writes, FILL_CLIENTS, shared, Until::Count(unread)).await;
    }
    if plan.does("reads") {
        for clients in &plan.clients {
            measured.run(store, &corpus, Kind::Reads, *clients, shared, time).await;
        }
    }
    if plan.does("each") {
        for kind in [Kind::Writes, Kind::Reads] {
            // One client has one connection anyway.
            for clients in plan.clients.iter().filter(|clients| **clients > 1) {
                measured.run(store, &corpus, kind, *clients, Connections::OneEach, time).await;
            }
        }
    }
    measured
}

impl Measured {
    /// Bytes written since `before` and memory in use.
    async fn weigh(&mut self, store: &impl Store, corpus: &Corpus, before: u64) {
        let pids = store.pids();
        let rss: Vec<u64> = pids.iter().map(|pid| rss_bytes(*pid)).collect();
        let peak = pids.iter().map(|pid| Memory::of(*pid).peak).max().unwrap_or(0);
        let payload = corpus.written() * PAYLOAD_BYTES * pids.len() as u64;
        let per_byte = (written_bytes_at_rest(&pids).await - before) as f64 / payload as f64;
        println!(
            "{:<10} after {} writes: {per_byte:.2} bytes written per payload byte and node; RSS of the nodes {} MB, {:.0} MB at most",
            store.name(),
            corpus.written(),
            rss.iter().map(|bytes| format!("{:.0}", *bytes as f64 / 1e6)).collect::<Vec<_>>().join(", "),
            peak as f64 / 1e6
        );
        (self.written_per_byte, self.rss) = (Some(per_byte), rss.into_iter().max());
    }

    async fn run(&mut self, store: &impl Store, corpus: &Arc<Corpus>, kind: Kind, clients: usize, connections: Connections, until: Until) {
        let figures = closed_loop(store, corpus, kind, clients, connections, until).await;
        row(store.name(), kind, clients, connections, &figures);
        self.runs.push((kind, clients, connections, figures));
    }
}

fn compare(table: &mut Table, ours: &Measured, theirs: Option<&Measured>) {
    for (at, (kind, clients, connections, figures)) in ours.runs.iter().enumerate() {
        let beside = theirs.map(|theirs| theirs.runs[at].3);
        let what = format!("{} {clients} clients, {}", kind.name(), connections.name(*clients));
        let (rate, latency) = expected(*kind, *clients, *connections);
        table.add(format!("{what}, per s"), figures.per_second, beside.map(|beside| beside.per_second), rate);
        let ms = |figures: Figures| figures.p99.as_secs_f64() * 1e3;
        table.add(format!("{what}, p99 ms"), ms(*figures), beside.map(ms), latency);
    }
    if let Some(written) = ours.written_per_byte {
        let beside = theirs.and_then(|theirs| theirs.written_per_byte);
        table.add("written per payload byte and node, small", written, beside, "<= 2.2");
    }
    if let Some(rss) = ours.rss {
        let beside = theirs.and_then(|theirs| theirs.rss).map(|rss| rss as f64 / 1e6);
        table.add(format!("RSS after {WRITES_MIN} writes, largest node, MB"), rss as f64 / 1e6, beside, "< 100");
    }
}

/// Rate and p99 against etcd's.
fn expected(kind: Kind, clients: usize, connections: Connections) -> (&'static str, &'static str) {
    match (kind, clients, connections) {
        (_, _, Connections::OneEach) => ("", ""),
        (Kind::Writes, 1, _) => (">= 1x", ""),
        (Kind::Writes, 64, _) => (">= 2x", ""),
        (Kind::Writes, 500, _) => (">= 3x, aim 6x", "<= 0.5x"),
        (Kind::Writes, ..) => ("", ""),
        (Kind::Reads, ..) => (">= 3x", ""),
    }
}

async fn measure_uploads(table: &mut Table, cluster: &Cluster) {
    for (images, together) in [(IMAGES_ALONE, 1), (IMAGES, IMAGES_TOGETHER)] {
        let came_to = uploads(cluster, images, together, together << 32).await;
        let what = format!("uploads of {} MiB, {together} at a time", IMAGE_BYTES >> 20);
        println!(
            "rusty-kv   {what}: {:.1} MB/s, {:.2} bytes written per payload byte and node",
            came_to.bytes_per_second / 1e6,
            came_to.written_per_byte
        );
        table.add(format!("{what}, MB/s"), came_to.bytes_per_second / 1e6, None, "");
        table.add("  written per payload byte and node", came_to.written_per_byte, None, "<= 1.1");
    }
}
