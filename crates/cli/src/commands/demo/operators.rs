//! Two operators of the city, each of whom sees its own vehicles and no others.
//!
//! Who shows no key is anybody, and may do everything, as without rules. A vehicle belongs to the
//! operator that its member `operator` names; whoever may change that hands the vehicle over.

use halfping::{Anonymous, ApiKey, Auth, AuthConfig, Limits, Rules, new_api_key};
use serde::Serialize;
use serde_json::json;

use crate::report::{Blame, Failure};

const ADA: &str = "ada";
const GRACE: &str = "grace";

const RULES: &str = r#"
[[rule]]
allow = ["read", "write"]
path = "/"
when = "claims.anybody"

# The settings of the page, and the city in numbers.
[[rule]]
allow = ["read"]
path = "/demo"

[[rule]]
allow = ["read"]
path = "/fleet"

[[rule]]
allow = ["write"]
path = "/demo/vehicles"

[[rule]]
allow = ["read", "update"]
path = "/vehicles/{vehicle}"
when = "resource.operator == claims.sub"
"#;

/// Views that one connection may have: an operator who follows each of its vehicles looks at each
/// by a condition.
const VIEWS_PER_CONNECTION: usize = 32_768;
/// The same of all connections.
const VIEWS: usize = 262_144;

/// An operator, as the page is told of it. The key is for everybody who opens the demo, and good
/// for this run only.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Operator {
    sub: &'static str,
    name: &'static str,
    /// The vehicles that it has at first, in words.
    runs: &'static str,
    token: String,
}

impl Operator {
    /// A command to try in a terminal.
    pub(super) fn invitation(&self, url: &str) -> String {
        let Operator { name, runs, token, .. } = self;
        format!(
            "
only what {name} may see, who has {runs}:
  curl -N -H 'Authorization: Bearer {token}' '{url}/vehicles?watch&rate=1'
"
        )
    }
}

/// Makes the operators, with new keys, and the rules for them.
pub(super) fn operators() -> Result<(Vec<Operator>, Auth), Failure> {
    let who = [(ADA, "Ada", "the trams"), (GRACE, "Grace", "the buses")];
    let (mut operators, mut keys) = (Vec::new(), Vec::new());
    for (sub, name, runs) in who {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(failed)?;
        let (token, hash) = new_api_key(&random);
        operators.push(Operator { sub, name, runs, token: token.reveal().to_owned() });
        let claims = json!({ "sub": sub }).as_object().cloned().unwrap_or_default();
        keys.push(ApiKey { sha256: hash.hex(), claims });
    }
    let anybody = json!({ "anybody": true }).as_object().cloned().unwrap_or_default();
    let config =
        AuthConfig { anonymous: Anonymous::Claims(anybody), key: keys, ..AuthConfig::default() };
    let rules = Rules::parse(RULES).map_err(failed)?;
    let auth = Auth::new(&config, rules, |file| std::fs::read(file)).map_err(failed)?;
    Ok((operators, auth))
}

/// Room for the views of operators, where the command line asks for no more.
pub(super) fn make_room(limits: &mut Limits) {
    limits.views_per_connection = limits.views_per_connection.max(VIEWS_PER_CONNECTION);
    limits.views = limits.views.max(VIEWS);
}

/// The operator that a vehicle of the city has at first.
pub(super) fn of_vehicle(id: &str) -> &'static str {
    if id.starts_with("tram-") { ADA } else { GRACE }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Blame::Peer, format!("the demo's operators cannot be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_leave_nothing_to_warn_of_and_keys_are_new_each_time() {
        let rules = Rules::parse(RULES).unwrap();
        assert!(rules.warnings().is_empty(), "{:?}", rules.warnings());
        let (one, auth) = operators().unwrap();
        let (other, _) = operators().unwrap();
        assert!(auth.has_rules());
        assert_eq!((one[0].sub, one[1].sub), (ADA, GRACE));
        assert!(one[0].token != one[1].token && one[0].token != other[0].token);
    }

    #[test]
    fn trams_are_of_one_and_buses_of_the_other() {
        assert_eq!((of_vehicle("tram-005"), of_vehicle("bus-017")), (ADA, GRACE));
    }
}
