//! An attacker on the LAN who wants nobody to be served: thousands of connections, handshakes that do not end, and floods of frames, by somebody
//! without a certificate and by somebody who may read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rigs::attack::{Crowd, Flood, Forger, Manner, Outpost, Siege};
use rigs::{Cluster, Pass, on_lan};
use trust::{Grant, Role, Token, Who};

const VOTERS: usize = 3;
const FLOOD_TIME: Duration = Duration::from_millis(1_500);
const CROWD_TIME: Duration = Duration::from_secs(4);
/// From so many addresses of one machine.
const ADDRESSES: u8 = 32;
const FIRST_ADDRESS: u8 = 150;
const CONNECTIONS: usize = 10_000;
/// That many slow ones at a time take all places that there are for handshakes, if they can.
const SLOW: usize = 1_000;
/// Of an honest user who comes only now: its first answer.
const NEWCOMER_LIMIT: Duration = Duration::from_secs(10);

#[test]
#[ignore = "runs the cluster"]
fn floods_cost_an_honest_client_little() {
    on_lan(VOTERS as u8 + 1, async |lan| {
        let mut cluster = Cluster::on_lan("lan-floods", &lan.boards[..VOTERS]);
        let forger = Forger::of_cluster(&mut cluster).await;
        cluster.close(VOTERS).await;
        let siege = Siege::begin(cluster).await;
        let outpost = Outpost::on(&lan.boards[VOTERS]);
        let addresses = outpost.take_addresses(FIRST_ADDRESS, ADDRESSES);
        let token: Token = siege.cluster.token().parse().unwrap();
        let reader = Who::Client { id: 7, grant: Grant { role: Role::Read, prefix: Vec::new() } };
        let (stranger, reader) = (Pass::of_stranger(&token), Pass::showing(&forger.papers_of(reader)).unwrap());

        for flood in Flood::ALL {
            // The leader has most to do; a follower is what its pulse depends on.
            let leader = siege.cluster.nodes[siege.leader].address();
            let follower = siege.cluster.nodes[siege.cluster.followers(siege.leader)[0]].address();
            let (stranger, reader) = (stranger.clone(), reader.clone());
            let pour = move || async move {
                let by_stranger =
                    (flood.run(stranger.clone(), leader.clone(), FLOOD_TIME), flood.run(stranger, follower.clone(), FLOOD_TIME));
                let by_reader = (flood.run(reader.clone(), leader, FLOOD_TIME), flood.run(reader, follower, FLOOD_TIME));
                let (a, b, c, d) = tokio::join!(by_stranger.0, by_stranger.1, by_reader.0, by_reader.1);
                (a.and(b), c.and(d))
            };
            let (by_stranger, by_reader) = siege.withstands(&format!("{flood:?}"), outpost.run(pour)).await;
            println!("  by a stranger: {by_stranger:?}\n  by a reader: {by_reader:?}");
            assert!(by_stranger.frames > 0 && by_reader.frames > 0, "{flood:?}: nothing was sent");
            if matches!(flood, Flood::EndlessHeaders | Flood::RapidReset) {
                assert!(by_stranger.ended > 0 && by_reader.ended > 0, "{flood:?} went on for as long as it liked");
            }
        }

        for (manner, at_a_time, total) in [
            (Manner::Silent, CONNECTIONS, CONNECTIONS),
            (Manner::Halfway, CONNECTIONS, CONNECTIONS),
            (Manner::Greeted, SLOW, SLOW),
            (Manner::Slow, SLOW, SLOW),
        ] {
            let crowd = Crowd { manner, at_a_time, total, time: CROWD_TIME };
            let nodes: Vec<SocketAddr> = siege.cluster.nodes.iter().map(|node| node.address().parse().unwrap()).collect();
            let (addresses, token) = (addresses.clone(), token.clone());
            let throng = outpost.run(move || crowd.run(addresses, nodes, token));
            let both = async { tokio::join!(throng, newcomer(&siege)) };
            let (came_about, (asked, longest)) = siege.withstands(&format!("{manner:?} connections"), both).await;
            println!("  {came_about} of {total} connections came about; {asked} newcomers were served within {longest:.1?}");
            assert!(came_about * 2 > total, "only {came_about} connections came about: this was no flood");
        }
        siege.assert_logged_once(&addresses);
        siege.end().await;
    });
}

/// Users who come while the flood is on, with connections of their own. How many there were, and how long the slowest waited.
async fn newcomer(siege: &Siege) -> (usize, Duration) {
    let (end, mut asked, mut longest) = (Instant::now() + CROWD_TIME, 0, Duration::ZERO);
    while Instant::now() < end {
        let start = Instant::now();
        let client = siege.cluster.client(NEWCOMER_LIMIT).await;
        client.get(b"load/0").await.expect("a newcomer is served");
        longest = longest.max(start.elapsed());
        asked += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (asked, longest)
}
