//! The explanation as people read it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use crate::core::view::{After, Cause, Mode};
use crate::core::why::{Explanation, HolderAgent, HolderSays, IfLost};

/// Prints it. What agents say comes over the network: nothing of it reaches the terminal but text.
pub(super) fn print(out: &mut impl Write, why: &Explanation) -> io::Result<()> {
    let printable = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    out.write_all(render(why).chars().map(printable).collect::<String>().as_bytes())
}

fn render(why: &Explanation) -> String {
    let mut text = why.vip.clone();
    match (&why.address, &why.segment) {
        (Some(address), Some(segment)) => _ = write!(text, ": {address} on segment {segment}"),
        (Some(address), None) => _ = write!(text, ": {address}, on no segment"),
        (None, _) => text.push_str(": no address"),
    }
    text.push('\n');
    if let Some(ready) = &why.ready {
        let word = if ready.holds { "Ready" } else { "Not ready" };
        _ = writeln!(text, "{word} ({}): {}", ready.reason, ready.message);
    }
    match &why.holder {
        Some(holder) => holder_says(&mut text, holder),
        None => text.push_str("\nNo node has it.\n"),
    }
    for (right, kind) in
        why.waits_for.iter().filter(|(right, _)| why.holder.as_ref().is_some_and(|h| h.node != right.node))
    {
        let what = match kind {
            After::Fenced => "was fenced, and its right is not known to be closed yet",
            After::Moved => "had it, and has not said yet that it let go",
        };
        _ = writeln!(text, "  waits for {right}: it {what}");
    }
    others(&mut text, why);
    if let (Some(lost), Some(holder)) = (&why.if_lost, &why.holder) {
        if_lost(&mut text, lost, &holder.node);
    }
    text
}

fn holder_says(text: &mut String, holder: &HolderSays) {
    let HolderSays { node, epoch, interface, .. } = holder;
    _ = writeln!(text, "\n{node} has it, at epoch {epoch}, on {interface}: {}", cause(holder.cause));
    let right = match holder.mode {
        Mode::Peers => format!("acknowledgements of {}", holder.watchers.join(", ")),
        Mode::Api => "the API: it renews its right every second".to_owned(),
        Mode::Grace => "a planned restart: it keeps it for 15 s".to_owned(),
        Mode::Solo => "that it is the only member of the segment".to_owned(),
    };
    _ = writeln!(text, "  its right rests on {right}");
    match &holder.agent {
        HolderAgent::Silent(why) => _ = writeln!(text, "  its agent does not answer: {why}"),
        HolderAgent::Says { vip, evidence_age, gate_left, margin } => {
            let (reason, message) = vip
                .as_ref()
                .map_or(("NotHeld", "it does not hold it"), |vip| (vip.reason.as_str(), vip.message.as_str()));
            _ = writeln!(text, "  its agent says {reason}: {message}");
            if let Some(mac) = vip.as_ref().and_then(|vip| vip.conflict) {
                _ = writeln!(text, "  {mac} claims it too, and is no node of the segment");
            }
            if vip.as_ref().is_some_and(|vip| vip.failing == Some(true)) {
                text.push_str("  its health check fails, and no other node is left to try\n");
            }
            if let Some(age) = evidence_age.filter(|_| holder.mode == Mode::Peers) {
                _ = writeln!(text, "  its newest evidence is {} old", millis(age));
            }
            match gate_left {
                Some(left) => {
                    let least = margin.map(|margin| format!(" (at least {} in the last second)", millis(margin)));
                    let least = least.unwrap_or_default();
                    _ = writeln!(text, "  its gate shuts in {}, unless there is newer evidence{least}", millis(*left));
                }
                None if holder.mode == Mode::Solo => text.push_str("  its gate does not shut\n"),
                None => {}
            }
        }
    }
}

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Granted => "it was the first to get it",
        Cause::NodeLost => "the node that had it was lost",
        Cause::NodeLeft => "the node that had it left",
        Cause::Drained => "the node that had it was cordoned, tainted or drained",
        Cause::Unhealthy => "its health check failed on the node that had it",
        Cause::Ineligible => "the node that had it may not have it any more",
        Cause::Preferred => "it is preferred",
        Cause::Requested => "it was asked for",
    }
}

fn others(text: &mut String, why: &Explanation) {
    if why.others.is_empty() {
        text.push_str("\nThere is no other node.\n");
        return;
    }
    text.push_str("\nNot on\n");
    let name = why.others.keys().map(|name| name.chars().count()).max().unwrap_or_default();
    let word = why.others.values().map(|other| other.reason.as_str().len()).max().unwrap_or_default();
    for (node, other) in &why.others {
        _ = writeln!(text, "  {node:name$}  {:word$}  {}", other.reason.as_str(), other.message);
        if let Some(agent) = &other.agent {
            _ = writeln!(text, "  {:name$}  {:word$}  its agent does not answer: {agent}", "", "");
        }
    }
}

fn if_lost(text: &mut String, lost: &IfLost, holder: &str) {
    let IfLost { successor, within, message } = lost;
    match (successor, within) {
        (Some(node), Some(within)) => {
            _ = writeln!(
                text,
                "\nIf {holder} died now, {node} would answer within about {}: {message}.",
                millis(*within)
            );
        }
        (Some(node), None) => _ = writeln!(text, "\nIf {holder} died now, {node} would answer: {message}."),
        (None, _) => _ = writeln!(text, "\nIf {holder} died now, nobody would answer: {message}."),
    }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(explanation: serde_json::Value) -> String {
        let mut out = Vec::new();
        print(&mut out, &serde_json::from_value(explanation).unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_held_address() {
        let text = printed(json!({
            "vip": "shop/web", "address": "198.51.100.20", "segment": "198.51.100.0-24",
            "ready": {"holds": true, "reason": "Held", "message": "a answers for it on eth0"},
            "holder": {
                "node": "a", "epoch": 3, "cause": "NodeLost", "mode": "peers", "watchers": ["b", "c"], "gate": "bpf",
                "interface": "eth0",
                "agent": {"says": {
                    "vip": {"reason": "Held", "message": "it answers on eth0", "conflict": null, "failing": null},
                    "evidenceAge": 70.0, "gateLeft": 430.0, "margin": 390.5,
                }},
            },
            "waitsFor": {},
            "others": {
                "b": {"reason": "Cordoned", "message": "it is cordoned", "agent": "198.51.100.2:9470: refused"},
                "node-c": {"reason": "TieLost", "message": "it may have it; the hash chose the other", "agent": null},
            },
            "ifLost": {"successor": "node-c", "within": 531.0, "message": "once its watchers have been silent"},
        }));
        assert_eq!(
            text,
            "shop/web: 198.51.100.20 on segment 198.51.100.0-24
Ready (Held): a answers for it on eth0

a has it, at epoch 3, on eth0: the node that had it was lost
  its right rests on acknowledgements of b, c
  its agent says Held: it answers on eth0
  its newest evidence is 70 ms old
  its gate shuts in 430 ms, unless there is newer evidence (at least 390 ms in the last second)

Not on
  b       Cordoned  it is cordoned
                    its agent does not answer: 198.51.100.2:9470: refused
  node-c  TieLost   it may have it; the hash chose the other

If a died now, node-c would answer within about 531 ms: once its watchers have been silent.
"
        );
    }

    #[test]
    fn an_address_that_nobody_has_and_words_that_would_move_the_cursor() {
        let text = printed(json!({
            "vip": "shop/web", "address": null, "segment": null, "ready": null, "holder": null, "waitsFor": {},
            "others": {"b": {"reason": "NotOnSegment", "message": "gone\u{1b}[2J", "agent": null}}, "ifLost": null,
        }));
        let expected = "shop/web: no address\n\nNo node has it.\n\nNot on\n  b  NotOnSegment  gone\u{fffd}[2J\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_holder_that_waits_and_whose_agent_is_silent() {
        let text = printed(json!({
            "vip": "shop/web", "address": "198.51.100.20", "segment": "lan",
            "ready": {"holds": false, "reason": "TakingOver", "message": "b waits for a former holder to be closed"},
            "holder": {
                "node": "b", "epoch": 4, "cause": "NodeLost", "mode": "solo", "watchers": [], "gate": "bpf",
                "interface": "eth0", "agent": {"silent": "no answer within 2s"},
            },
            "waitsFor": {"a/3": "Fenced"}, "others": {},
            "ifLost": {"successor": null, "within": null, "message": "the holder is alone"},
        }));
        assert_eq!(
            text,
            "shop/web: 198.51.100.20 on segment lan
Not ready (TakingOver): b waits for a former holder to be closed

b has it, at epoch 4, on eth0: the node that had it was lost
  its right rests on that it is the only member of the segment
  its agent does not answer: no answer within 2s
  waits for a/3: it was fenced, and its right is not known to be closed yet

There is no other node.

If b died now, nobody would answer: the holder is alone.
"
        );
    }
}
