//! A certificate, and the chain that it comes in, as a node or a client is shown them.

use std::{cell::OnceCell, sync::Arc};

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use trust::{Credentials, Subject, Who};

use crate::{circle, der, handshake::meet, script::Script};

struct Ends {
    server: Arc<ServerConfig>,
    caller: Arc<ClientConfig>,
    joiner: Arc<ClientConfig>,
}

thread_local! {
    static ENDS: OnceCell<Ends> = const { OnceCell::new() };
}

/// Whom the chain is shown to.
#[derive(Clone, Copy, PartialEq)]
enum Judge {
    /// A node that is called.
    Server,
    /// A client that has called.
    Caller,
    /// One that has nothing but a token.
    Joiner,
}

/// Nobody is believed whom the authority has not signed for; and whom it has signed for, as what it has signed.
pub fn certificate(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let judge = [Judge::Server, Judge::Caller, Judge::Joiner][script.below(3) as usize];
    let made = script.below(7);
    let beside = match script.below(5) {
        0 => vec![],
        1 => vec![circle::ROGUE.to_vec(), circle::AUTHORITY.to_vec()],
        2 => vec![circle::ROGUE.to_vec()],
        3 => vec![der::edited(circle::AUTHORITY, &mut script)],
        _ => vec![circle::AUTHORITY.to_vec()],
    };
    let part = |cert: &[u8], script: &mut Script<'_>| der::edited(circle::signed_part(cert), script);
    let (leaf, key, is_ours) = match made {
        0 => (der::edited(circle::NODE, &mut script), circle::NODE_KEY, false),
        1 => (der::edited(circle::CLIENT, &mut script), circle::CLIENT_KEY, false),
        // Nothing that is signed by the authority is ever as wicked; but a bearer's words may be.
        2 => (circle::signed(&part(circle::NODE, &mut script), circle::AUTHORITY_KEY), circle::NODE_KEY, true),
        3 => (circle::signed(&part(circle::CLIENT, &mut script), circle::AUTHORITY_KEY), circle::CLIENT_KEY, true),
        4 => (circle::signed(&part(circle::ROGUE_NODE, &mut script), circle::ROGUE_KEY), circle::NODE_KEY, false),
        5 => return uri(script.rest()),
        _ => (script.rest().to_vec(), circle::NODE_KEY, false),
    };
    let is_ours = is_ours || leaf == circle::NODE || leaf == circle::CLIENT;
    let credentials = Credentials { leaf: leaf.clone(), key: key.to_vec(), authorities: vec![circle::AUTHORITY.to_vec()] };
    tells(&credentials, is_ours);
    let chain = [vec![leaf.clone()], beside.clone()].concat();
    let is_believed = show(&chain, key, judge);
    if is_believed {
        assert!(is_ours, "believed, and not signed by the authority");
        let subject = trust::subject_of(&leaf).expect("believed, and names nobody");
        assert_eq!(subject.cluster_id, circle::CLUSTER, "believed, and of another cluster");
        assert!(judge == Judge::Server || matches!(subject.who, Who::Node(_)), "a client serves");
        assert!(judge == Judge::Joiner || credentials.expires().expect("believed") >= circle::NOW, "believed beyond its end");
        assert!(judge != Judge::Joiner || beside.iter().any(|cert| cert == circle::AUTHORITY), "the token's authority is not there");
    }
    let is_whole = leaf == circle::NODE || judge == Judge::Server && leaf == circle::CLIENT;
    assert!(is_believed || !is_whole || beside != [circle::AUTHORITY], "an honest chain is refused");
}

/// What its bearer reads in it, before anybody has judged it.
fn tells(credentials: &Credentials, is_ours: bool) {
    if let Ok(subject) = credentials.subject() {
        assert_eq!(subject.to_uri().parse(), Ok(subject), "a subject is another one after a round");
    }
    if let (Ok(at), Ok(end)) = (credentials.renew_at(), credentials.expires()) {
        assert!(at <= end, "renewed after its end");
    }
    assert!(!format!("{credentials:?}").is_empty());
    let served = trust::server_config(credentials, circle::clock());
    assert!(is_ours || served.is_err(), "papers that the authority has not signed are in order");
}

fn uri(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(subject) = text.parse::<Subject>() {
        assert_eq!(subject.to_uri(), text, "a second spelling");
    }
}

fn show(chain: &[Vec<u8>], key: &[u8], judge: Judge) -> bool {
    ENDS.with(|ends| {
        let ends = ends.get_or_init(|| Ends {
            server: circle::server(),
            caller: circle::caller(),
            joiner: trust::pinned_config(trust::hash_of(circle::AUTHORITY)),
        });
        let (mut server, mut caller, mut name) = (ends.server.clone(), ends.caller.clone(), trust::server_name(&circle::CLUSTER));
        let shown = circle::showing(chain, key);
        match judge {
            Judge::Server => Arc::make_mut(&mut caller).client_auth_cert_resolver = shown,
            Judge::Caller => Arc::make_mut(&mut server).cert_resolver = shown,
            Judge::Joiner => {
                Arc::make_mut(&mut server).cert_resolver = shown;
                (caller, name) = (ends.joiner.clone(), trust::joining_name());
            }
        }
        let server = ServerConnection::new(server).expect("its configuration is in order");
        let caller = ClientConnection::new(caller, name).expect("its configuration is in order");
        let met = meet(server, caller, |_, wire| wire);
        match judge {
            Judge::Server => met.server.is_some_and(|server| server.peer_certificates().is_some()),
            Judge::Caller | Judge::Joiner => met.caller.is_some(),
        }
    })
}
