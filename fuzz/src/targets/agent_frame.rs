//! Frames between a server and the agents of other hosts: each line is one, of either side.
//!
//! Promises: a frame that is read, and every frame that an end answers, can be written and read again; no order of
//! frames breaks an end; a refusal is brief.

use chaos_core::link::{
    AgentEnd, AgentFrame, AgentOutput, Frame, Hello, ServerEnd, ServerFrame, ServerOutput,
};

use super::{is_brief, survives_json};

pub(crate) fn check(bytes: &[u8]) {
    let (mut server, mut agent) = (ServerEnd::new("host", "1", 15_000), None);
    for line in bytes.split(|byte| *byte == b'\n') {
        match AgentFrame::decode(line) {
            Ok(frame) => to_server(&mut server, &mut agent, frame),
            Err(error) => is_brief(&error.to_string()),
        }
        match (ServerFrame::decode(line), &mut agent) {
            (Ok(frame), Some(agent)) => to_agent(agent, frame),
            (Ok(frame), None) => survives_json(&frame),
            (Err(error), _) => is_brief(&error.to_string()),
        }
    }
}

fn to_server(server: &mut ServerEnd, agent: &mut Option<AgentEnd>, frame: AgentFrame) {
    survives_json(&frame);
    let outputs = match frame {
        AgentFrame::Hello(hello) => greeted(server, agent, &hello),
        frame => server.current().map(|epoch| server.frame(epoch, frame)).unwrap_or_default(),
    };
    for output in outputs {
        if let ServerOutput::Send(frame) = output {
            survives_json(&frame);
        }
    }
}

/// A hello that is good opens both ends: the server's for it, and an agent's that says the same of itself.
fn greeted(server: &mut ServerEnd, agent: &mut Option<AgentEnd>, hello: &Hello) -> Vec<ServerOutput> {
    if let Err(error) = hello.check(hello.introduction.host.is_empty()) {
        is_brief(&error.to_string());
        return Vec::new();
    }
    let end = agent.get_or_insert_with(|| {
        AgentEnd::new(hello.introduction.clone(), hello.epoch.incarnation, Vec::new())
    });
    end.connect();
    server.connected(hello).unwrap_or_default()
}

fn to_agent(agent: &mut AgentEnd, frame: ServerFrame) {
    survives_json(&frame);
    let Some(epoch) = agent.current() else { return };
    for output in agent.frame(epoch, frame) {
        if let AgentOutput::Send(frame) = output {
            survives_json(&frame);
        }
    }
}
