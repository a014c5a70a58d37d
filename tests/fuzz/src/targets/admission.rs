//! What is said when somebody is let in: by one who has nothing but a token, and by the node that answers.

use prost::Message as _;
use proto::v1 as wire;
use raft::NodeId;
use trust::{KeyPair, Subject, Token, Who};

use crate::{
    circle, convert, der,
    guard::{self, Papers},
    login::{Login, Logins},
    script::Script,
    shelf::Shelf,
};

const SECRET_HASH: [u8; 32] = [5; 32];
const EXPORTER: [u8; 32] = [6; 32];

/// No proof but the right one counts, and no answer makes papers that cannot be kept.
pub fn admission(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    match script.below(8) {
        0 => wire::AdmitRequest::decode(script.rest()).ok().into_iter().for_each(applicant),
        1 => drop(wire::AdmitResponse::decode(script.rest()).map(answer)),
        2 => drop(wire::Certificate::decode(script.rest()).map(renewed)),
        3 => drop(wire::NewTokenRequest::decode(script.rest()).map(wanted)),
        4 => drop(wire::JoinClusterRequest::decode(script.rest()).map(|asked| asked.token.parse::<Token>())),
        _ => answer(made(script)),
    }
}

fn applicant(asked: wire::AdmitRequest) {
    let right = trust::prove(&SECRET_HASH, &EXPORTER, &asked.csr);
    let is_believed = trust::verify_proof(&SECRET_HASH, &EXPORTER, &asked.csr, &asked.proof);
    assert_eq!(is_believed, asked.proof == right[..], "a wrong proof, or none that is right");
    assert!(trust::verify_proof(&SECRET_HASH, &EXPORTER, &asked.csr, &right), "the right proof is refused");
    let id = match asked.who {
        Some(wire::admit_request::Who::Node(node)) => match node.me.map(convert::identity_from_wire) {
            Some(Ok(me)) => me.id.0,
            _ => return,
        },
        _ => circle::NODE_ID,
    };
    let subject = Subject { cluster_id: circle::CLUSTER, who: Who::Node(id) };
    if let Ok(leaf) = circle::authority().sign(&asked.csr, &subject, circle::NOW, circle::LIFE_S) {
        assert_eq!(trust::subject_of(&leaf), Ok(subject), "signed for somebody else");
    }
}

fn made(mut script: Script<'_>) -> wire::AdmitResponse {
    let leaf = [circle::NODE, circle::CLIENT, circle::ROGUE_NODE, circle::AUTHORITY][script.below(4) as usize];
    let leaf = der::edited(leaf, &mut script);
    let authorities = (0..script.below(6)).map(|_| match script.below(3) {
        0 => circle::ROGUE.to_vec(),
        1 => der::edited(circle::AUTHORITY, &mut script),
        _ => circle::AUTHORITY.to_vec(),
    });
    let authorities = authorities.map(Into::into).collect();
    let certificate = wire::Certificate { leaf: leaf.into(), authorities, time_s: script.near(circle::NOW.0) };
    let mut id = || if script.byte() == 255 { script.piece().to_vec() } else { circle::CLUSTER.to_vec() };
    let (cluster_id, formed_id) = (id().into(), id().into());
    let addresses = (0..script.below(20)).map(|_| String::from_utf8_lossy(script.piece()).into_owned()).collect();
    let cluster_name = String::from_utf8_lossy(script.piece()).into_owned();
    wire::AdmitResponse { certificate: Some(certificate), cluster_id, cluster_name, addresses, formed_id }
}

fn answer(answer: wire::AdmitResponse) {
    let pinned = trust::hash_of(circle::AUTHORITY);
    let key = KeyPair::from_pkcs8(circle::NODE_KEY).expect("made by us");
    if let Ok((papers, _)) = guard::admitted(answer.clone(), NodeId(circle::NODE_ID), pinned, &key) {
        assert_eq!(papers.credentials.subject().map(|subject| subject.who), Ok(Who::Node(circle::NODE_ID)), "papers of somebody else");
        install(&papers);
    }
    let key = KeyPair::from_pkcs8(circle::CLIENT_KEY).expect("made by us");
    if let Ok(login) = Login::of(answer, &key) {
        assert_ne!(login.grant(), "nothing", "a login that is none");
        let works = login.tls().is_ok();
        let shelf = Shelf::new();
        let logins = Logins::at(shelf.path().to_owned());
        logins.store(&login).expect("memory can be written");
        let again = logins.meant(None).expect("just written");
        assert_eq!((again.grant(), again.tls().is_ok(), again.peers), (login.grant(), works, login.peers), "another login");
    }
}

fn renewed(certificate: wire::Certificate) {
    let key = KeyPair::from_pkcs8(circle::NODE_KEY).expect("made by us");
    if let Ok(papers) = guard::papers(certificate, &key, circle::CLUSTER) {
        install(&papers);
    }
}

/// As a node does with papers before it puts them in force: they are kept if they are in order.
fn install(papers: &Papers) {
    let Papers { credentials, .. } = papers;
    let _ = (credentials.expires(), credentials.renew_at());
    if trust::server_config(credentials, circle::clock()).is_err() || trust::client_config(credentials, circle::clock()).is_err() {
        return;
    }
    let shelf = Shelf::new();
    let path = shelf.path().join("papers.toml");
    papers.write(&path).expect("memory can be written");
    let again = Papers::read(&path).expect("just written").expect("just written");
    assert_eq!((again.credentials, again.time_s), (credentials.clone(), papers.time_s), "papers are others after a round");
}

fn wanted(asked: wire::NewTokenRequest) {
    if let Ok(role) = convert::token_role(asked.role) {
        assert_eq!(role.is_none(), asked.role == 0, "a client's token lets in boards");
    }
}
