//! `cluster create` and `cluster join`: on the board itself, over the node's own socket.

use proto::v1;
use proto::v1::trust_client::TrustClient;
use serde_json::json;
use tokio::time::timeout;

use super::args::{CreateCluster, JoinCluster};
use super::console::Console;
use super::exit::Exit;
use super::login;
use super::settings::Settings;
use super::socket;
use crate::admission;
use crate::cluster_id::ClusterId;
use crate::error::{Error, Kind};

/// Finding a member, an election, a change of the membership under way.
const JOIN_TIMEOUT_S: u64 = 60;
const CREATE_TIMEOUT_S: u64 = 30;

pub async fn create(args: CreateCluster, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let mut node = TrustClient::new(admission::local(&socket::path(args.socket.as_deref())?).await?);
    let request = v1::CreateClusterRequest { voters: args.voters };
    let made = within(settings, CREATE_TIMEOUT_S, node.create_cluster(request)).await?;
    let id = ClusterId::from_wire(&made.cluster_id).map(|id| id.to_string()).unwrap_or_default();
    let join = format!("rusty-kv cluster join {}", made.token);
    if console.is_json() {
        let result = if made.created { "done" } else { "unchanged" };
        console.object(&json!({"result": result, "cluster_name": made.cluster_name, "cluster_id": id, "token": made.token}))?;
    } else if made.created {
        console.data(format!("{join}\n").as_bytes())?;
    }
    console.message(&match made.created {
        true => format!("cluster \"{}\" is made of this board alone. Run the line above on the others, within a day", made.cluster_name),
        false => format!("this board belongs to cluster \"{}\" already; `rusty-kv token new` lets others in", made.cluster_name),
    });
    Ok(Exit::Done)
}

pub async fn join(args: JoinCluster, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    // What is mistyped is told before anybody is asked.
    login::parse(&args.token)?;
    let mut node = TrustClient::new(admission::local(&socket::path(args.socket.as_deref())?).await?);
    let addresses = settings.peers.iter().flatten().map(ToString::to_string).collect();
    let request = v1::JoinClusterRequest { token: args.token, addresses };
    let joined = within(settings, JOIN_TIMEOUT_S, node.join_cluster(request)).await?;
    if console.is_json() {
        let id = ClusterId::from_wire(&joined.cluster_id).map(|id| id.to_string()).unwrap_or_default();
        let result = if joined.joined { "done" } else { "unchanged" };
        console.object(&json!({"result": result, "cluster_name": joined.cluster_name, "cluster_id": id}))?;
    }
    console.message(&match joined.joined {
        true => format!("this board belongs to cluster \"{}\" now; it becomes a voter by itself where one is wanted", joined.cluster_name),
        false => format!("this board belongs to cluster \"{}\" already", joined.cluster_name),
    });
    Ok(Exit::Done)
}

async fn within<T>(
    settings: &Settings,
    default_s: u64,
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Error> {
    let bound = settings.timeout.unwrap_or(std::time::Duration::from_secs(default_s));
    match timeout(bound, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(admission::refused(&status)),
        Err(_) => Err(Error::new(Kind::NotExecuted, "no answer in time", "run the command again: it goes on where it was")),
    }
}
