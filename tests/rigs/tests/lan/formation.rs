//! Boards on one network that were told nothing of each other: who finds whom, and who is left alone.
//!
//! The clusters here are open: only there nodes form by what they see alone, and a lie about an address is caught by nothing else.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rigs::{Cluster, Lan, Load, Plan, client, client_ok, eventually, on_lan};

const FORM_LIMIT: Duration = Duration::from_secs(10);
/// As Docker makes it on every board.
const DOCKER_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// Long enough for a node to look for others again and again.
const WATCH_TIME: Duration = Duration::from_secs(8);

#[test]
#[ignore = "runs the cluster"]
fn three_boards_form_a_cluster_that_the_command_line_finds() {
    on_lan(3, async |lan| {
        let mut cluster = Cluster::open_on_lan("lan-forms", &lan.boards);
        let start = Instant::now();
        cluster.start();
        cluster.settled().await;
        println!("formed within {:?}", start.elapsed());
        assert!(start.elapsed() < FORM_LIMIT, "took {:?}", start.elapsed());

        // At once, while the nodes still tell each other that they have formed.
        let home = cluster.path();
        let seen = String::from_utf8(client_ok(home, &["discover"])).unwrap();
        for node in &cluster.nodes {
            assert!(seen.contains(&node.address()), "{} is not in sight:\n{seen}", node.address());
        }
        let start = Instant::now();
        client_ok(home, &["set", "greeting", "hello"]);
        assert_eq!(client_ok(home, &["get", "greeting"]), b"hello");
        println!("the command line found it, wrote and read within {:?}", start.elapsed());
        cluster.equal().await;
        cluster.assert_no_panics();
    });
}

#[test]
#[ignore = "runs the cluster"]
fn a_second_cluster_on_the_same_boards_stays_apart() {
    on_lan(3, async |lan| {
        let mut first = Cluster::open_on_lan("lan-attic", &lan.boards);
        let mut second = Cluster::open_on_lan("lan-barn", &lan.boards);
        // Interleaved, so that each sees the other's nodes before its own are complete.
        for (one, other) in first.nodes.iter_mut().zip(&mut second.nodes) {
            one.start();
            other.port += 1;
            other.start();
        }
        for cluster in [&first, &second] {
            cluster.settled().await;
        }
        let (members_of_first, members_of_second) = (member_ids(&first).await, member_ids(&second).await);
        assert_eq!((members_of_first.len(), members_of_second.len()), (3, 3));
        assert!(members_of_first.is_disjoint(&members_of_second));

        // Which of the two is meant must be said, and then it is the one that is used.
        let home = first.path();
        let refused = client(home, &["set", "whose", "anybody's"]);
        assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
        for cluster in [&first, &second] {
            client_ok(home, &["--cluster", cluster.name(), "set", "whose", cluster.name()]);
        }
        for cluster in [&first, &second] {
            assert_eq!(client_ok(home, &["--cluster", cluster.name(), "get", "whose"]), cluster.name().as_bytes());
            for index in 0..3 {
                assert_eq!(cluster.kv(index).get(b"whose").await.unwrap().as_deref(), Some(cluster.name().as_bytes()));
            }
            cluster.equal().await;
            cluster.assert_no_panics();
        }
    });
}

/// Two boards with one and the same address on their container bridges: dialled, it would lead each to itself or to a stranger's container.
#[test]
#[ignore = "runs the cluster"]
fn the_address_of_a_container_bridge_is_neither_told_nor_dialled() {
    on_lan(3, async |lan| {
        let mut cluster = Cluster::open_on_lan("lan-docker", &lan.boards);
        for (index, node) in cluster.nodes.iter_mut().enumerate() {
            node.port += index as u16;
        }
        let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
        // On a board with a container bridge its address is the board itself: there, whoever dials it for another node's port runs into a trap. The
        // third board and the client have none; what they send there shows on the cable.
        let mut traps = Vec::new();
        for (index, board) in lan.boards[..2].iter().enumerate() {
            make_docker_bridge(&lan, index);
            let others = ports.iter().enumerate().filter(|(other, _)| *other != index);
            traps.extend(others.map(|(_, port)| board.network.run(|| Trap::set(*port))));
        }
        for board in [&lan.boards[2], &lan.client] {
            board.network.ip("route add 172.17.0.0/16 dev eth0\n").unwrap();
        }
        for board in lan.boards.iter().chain([&lan.client]) {
            board.weather().watched.insert(DOCKER_ADDRESS);
        }
        let told = || -> u64 { lan.boards.iter().chain([&lan.client]).map(|board| board.weather().spoken).sum() };
        let sprung = |traps: &[Trap]| -> u64 { traps.iter().map(Trap::sprung).sum() };

        cluster.start();
        let leader = cluster.settled().await;
        client_ok(cluster.path(), &["set", "key", "value"]);
        let plan = Plan { writers: 2, readers_per_node: 1, keys: 16, pause: Duration::from_millis(20), timeout: Duration::from_secs(15) };
        let load = Load::start(&cluster, plan).await;
        // A member that is away is looked for wherever it might be.
        let absent = cluster.followers(leader)[0];
        cluster.nodes[absent].kill();
        tokio::time::sleep(WATCH_TIME).await;
        cluster.nodes[absent].start();
        cluster.settled().await;
        let seen = String::from_utf8(client_ok(cluster.path(), &["discover"])).unwrap();
        assert!(!seen.contains(&DOCKER_ADDRESS.to_string()), "{seen}");
        load.verify(&cluster).await;
        assert_eq!((told(), sprung(&traps)), (0, 0), "frames that name {DOCKER_ADDRESS}, connections to it");

        // The instruments work: each attempt is seen.
        let dial = |port: u16| TcpStream::connect_timeout(&(DOCKER_ADDRESS, port).into(), Duration::from_millis(500)).is_ok();
        assert!(lan.boards[0].network.run(|| dial(ports[1])) && lan.boards[1].network.run(|| dial(ports[2])));
        eventually(10, "traps spring", || async { sprung(&traps) }, |count| *count == 2).await;
        lan.boards[2].network.run(|| dial(ports[0]));
        let of_board = lan.boards[2].weather().spoken;
        dial(ports[0]);
        assert!(of_board > 0 && lan.client.weather().spoken > 0, "a question for an address shows on the cable");
    });
}

/// As Docker does, with one container that runs, so that the bridge has a link.
fn make_docker_bridge(lan: &Lan, board: usize) {
    let commands = format!(
        "link add docker0 type bridge\naddr add {DOCKER_ADDRESS}/16 brd + dev docker0\nlink add veth0 type veth peer name container0\n\
         link set veth0 master docker0\nlink set docker0 up\nlink set veth0 up\nlink set container0 up\n"
    );
    lan.boards[board].network.ip(&commands).unwrap();
}

/// A listener that nobody has reason to call.
struct Trap {
    callers: Arc<AtomicU64>,
}

impl Trap {
    fn set(port: u16) -> Trap {
        let listener = TcpListener::bind((DOCKER_ADDRESS, port)).expect("a trap can be set");
        let callers: Arc<AtomicU64> = Arc::default();
        let count = callers.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Trap { callers }
    }

    fn sprung(&self) -> u64 {
        self.callers.load(Ordering::Relaxed)
    }
}

async fn member_ids(cluster: &Cluster) -> BTreeSet<u64> {
    let statuses = cluster.statuses().await;
    statuses.iter().flatten().flat_map(|status| status.members.iter().map(|member| member.node_id)).collect()
}
