//! Circles in a graph, of any length.

use std::collections::{BTreeMap, BTreeSet};

/// Edges: from, to, and the place in the code.
pub(crate) type Graph = BTreeMap<(String, String), String>;

/// The circles of a graph, each with its edges, a line each.
pub(crate) fn circles(graph: &Graph) -> Vec<String> {
    let nodes: BTreeSet<&str> = graph.keys().flat_map(|(from, to)| [&**from, &**to]).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        nodes.iter().map(|node| (*node, reached_from(graph, node))).collect();
    let mut found: BTreeSet<Vec<&str>> = BTreeSet::new();
    for node in &nodes {
        let is_on_its_way =
            |other: &&str| reached[node].contains(other) && reached[other].contains(node);
        let circle: Vec<&str> = nodes.iter().copied().filter(is_on_its_way).collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    let show = |circle: Vec<&str>| {
        let is_in_it = |((from, to), _): &(&(String, String), &String)| {
            circle.contains(&&**from) && circle.contains(&&**to)
        };
        let edges = graph.iter().filter(is_in_it);
        let lines = edges.map(|((from, to), why)| format!("\n    {from} -> {to}: {why}"));
        format!("{}{}", circle.join(", "), lines.collect::<String>())
    };
    found.into_iter().map(show).collect()
}

/// The nodes that can be reached from this one.
fn reached_from<'g>(graph: &'g Graph, node: &str) -> BTreeSet<&'g str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![node];
    while let Some(node) = next.pop() {
        for (_, to) in graph.keys().filter(|(from, _)| from == node) {
            if reached.insert(&**to) {
                next.push(to);
            }
        }
    }
    reached
}
