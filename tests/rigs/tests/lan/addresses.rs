//! DHCP gives every board and the client's computer another address: the cluster finds itself again and serves.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rigs::{Cluster, Lan, Load, Plan, client, client_ok, eventually, on_lan};
use rustix::process::Signal;

/// Waiting for a connection that leads nowhere, the next look at the interfaces, the next announcement, an election, and a slow machine.
const LIMIT_S: u64 = 60;
const CLIENT_NUMBER: u8 = 100;

#[test]
#[ignore = "runs the cluster"]
fn every_address_changes_and_the_cluster_serves_again() {
    on_lan(3, async |mut lan| {
        let mut cluster = Cluster::on_lan("lan-dhcp", &lan.boards);
        cluster.close(3).await;
        let members = cluster.statuses().await[0].as_ref().unwrap().members.len();
        write(&cluster, "at first").await;
        // Its clients know the first addresses alone: what they have under way when those go is of unknown outcome.
        let plan = Plan { writers: 4, readers_per_node: 1, keys: 16, pause: Duration::from_millis(10), timeout: Duration::from_secs(10) };
        let load = Load::start(&cluster, plan).await;
        eventually(30, "the load is on", || async { load.acknowledged() }, |writes| *writes > 100).await;

        let start = Instant::now();
        move_all(&mut lan, &mut cluster, |index| Ipv4Addr::new(10, 78, 0, 11 + index));
        write(&cluster, "elsewhere").await;
        println!("running nodes moved to new addresses: a write after {:.1?}", start.elapsed());
        cluster.settled().await;
        println!("running nodes moved to new addresses: all in touch after {:.1?}", start.elapsed());
        check_all(&cluster, "elsewhere").await;

        // Each gets what another had: whoever is dialled there is somebody else.
        let start = Instant::now();
        move_all(&mut lan, &mut cluster, |index| Ipv4Addr::new(10, 78, 0, 11 + (index + 1) % 3));
        write(&cluster, "in each other's place").await;
        println!("running nodes exchanged addresses: a write after {:.1?}", start.elapsed());
        cluster.settled().await;
        println!("running nodes exchanged addresses: all in touch after {:.1?}", start.elapsed());
        check_all(&cluster, "in each other's place").await;

        for node in &mut cluster.nodes {
            assert!(node.stop(Signal::TERM).status.success());
        }
        move_all(&mut lan, &mut cluster, |index| Ipv4Addr::new(10, 79, 0, 21 + index));
        let start = Instant::now();
        cluster.start();
        write(&cluster, "after the night").await;
        println!("nodes started at new addresses: a write after {:.1?}", start.elapsed());
        cluster.settled().await;
        check_all(&cluster, "after the night").await;
        assert_eq!(cluster.statuses().await[0].as_ref().unwrap().members.len(), members, "a node is who it is, wherever it is");
        load.verify(&cluster).await;
    });
}

fn move_all(lan: &mut Lan, cluster: &mut Cluster, address: impl Fn(u8) -> Ipv4Addr) {
    for (index, board) in lan.boards.iter_mut().enumerate() {
        board.move_to(address(index as u8));
        cluster.nodes[index].host = board.address.to_string();
    }
    let [a, b, c, _] = address(0).octets();
    lan.client.move_to(Ipv4Addr::new(a, b, c, CLIENT_NUMBER));
    // Whoever gets an address by DHCP tells all (RFC 5227), so that nobody sends to the one who had it before.
    for board in lan.boards.iter().chain([&lan.client]) {
        board.network.ip("neigh flush dev eth0\n").unwrap();
    }
}

/// By the command line, which finds the cluster by itself: what it remembers is of no use.
async fn write(cluster: &Cluster, value: &str) {
    let home = cluster.path();
    let set = || async { client(home, &["set", "where", value]) };
    eventually(LIMIT_S, "a write is acknowledged", set, |output| output.status.success()).await;
}

async fn check_all(cluster: &Cluster, value: &str) {
    for index in 0..cluster.nodes.len() {
        assert_eq!(cluster.kv(index).get(b"where").await.unwrap().as_deref(), Some(value.as_bytes()));
    }
    assert_eq!(client_ok(cluster.path(), &["get", "where"]), value.as_bytes());
}
