//! Whatever comes over a connection before anybody has proven anything, and what somebody on the way makes of an honest handshake.

use std::{cell::OnceCell, sync::Arc};

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, pki_types::ServerName};

use crate::{circle, der, handshake::meet, script::Script};

struct Ends {
    server: Arc<ServerConfig>,
    /// With a certificate, and with a token only; and the name that each asks for.
    callers: [(Arc<ClientConfig>, ServerName<'static>); 2],
}

thread_local! {
    static ENDS: OnceCell<Ends> = const { OnceCell::new() };
}

/// Bytes alone let nobody in and show nothing of a handshake as done. If both ends of a handshake that was meddled with are content, they mean
/// each other.
pub fn tls_bytes(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    ENDS.with(|ends| {
        let ends = ends.get_or_init(|| Ends {
            server: circle::server(),
            callers: [
                (circle::caller(), trust::server_name(&circle::CLUSTER)),
                (trust::pinned_config(trust::hash_of(circle::AUTHORITY)), trust::joining_name()),
            ],
        });
        let how = script.below(3);
        let is_joiner = script.flag();
        let (config, name) = ends.callers[usize::from(is_joiner)].clone();
        let server = ServerConnection::new(ends.server.clone()).expect("its configuration is in order");
        let caller = ClientConnection::new(config, name).expect("its configuration is in order");
        match how {
            0 => to_server(server, script),
            1 => to_caller(caller, script),
            _ => meddle(server, caller, is_joiner, script),
        }
    });
}

fn to_server(mut server: ServerConnection, script: Script<'_>) {
    let wire = wire(script);
    let mut rest = &wire[..];
    while !rest.is_empty() && server.read_tls(&mut rest).is_ok() {
        let Ok(state) = server.process_new_packets() else { break };
        assert_eq!(state.plaintext_bytes_to_read(), 0, "a stranger is heard");
    }
    assert!(server.is_handshaking() && server.peer_certificates().is_none(), "bytes alone have proven something");
    assert!(trust::exporter(&server).is_err(), "a secret shared with nobody");
}

fn to_caller(mut caller: ClientConnection, script: Script<'_>) {
    let wire = wire(script);
    let mut rest = &wire[..];
    while !rest.is_empty() && caller.read_tls(&mut rest).is_ok() {
        let Ok(state) = caller.process_new_packets() else { break };
        assert_eq!(state.plaintext_bytes_to_read(), 0, "a stranger is heard");
    }
    assert!(caller.is_handshaking() && caller.peer_certificates().is_none(), "bytes alone have proven something");
}

/// As they are, or in records whose lengths are right.
fn wire(mut script: Script<'_>) -> Vec<u8> {
    if script.flag() {
        return script.rest().to_vec();
    }
    let mut wire = Vec::new();
    while !script.is_over() {
        let (kind, piece) = (script.byte(), script.long_piece());
        let [high, low] = (piece.len() as u16).to_be_bytes();
        wire.extend([&[kind, 3, 3, high, low], piece].concat());
    }
    wire
}

fn meddle(server: ServerConnection, caller: ClientConnection, is_joiner: bool, mut script: Script<'_>) {
    let meddled = script.below(4) as usize;
    let met = meet(server, caller, |turn, wire| if turn == meddled { der::edited_bytes(&wire, &mut script) } else { wire });
    let (Some(server), Some(caller)) = (met.server, met.caller) else { return };
    assert_eq!(trust::exporter(&server), trust::exporter(&caller), "somebody sits between them");
    let shown = server.peer_certificates().map(|chain| chain[0].as_ref());
    assert_eq!(shown, (!is_joiner).then_some(circle::CLIENT), "somebody else is let in");
}
