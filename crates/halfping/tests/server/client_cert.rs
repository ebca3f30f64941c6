//! Certificates of clients, as trusted proxies tell them (PROTOCOL I36).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::common::Running;
use crate::common::identity::{NOBODY, ask, auth, bearer, check, serve_auth, stream_of, token};

/// A certificate, as far as anybody looks at it here: one sequence in DER.
fn certificate(of: u8) -> Vec<u8> {
    [&[0x30, 0x81, 200][..], &[of; 200]].concat()
}

fn sha256(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The header that a proxy sets.
fn header(of: u8) -> String {
    format!("Client-Cert: :{}:", BASE64_STANDARD.encode(certificate(of)))
}

const RULES: &str = r#"
    [[rule]]
    allow = ["read", "write"]
    path = "/machines/{name}"
    when = "name == claims.sub"

    [[rule]]
    allow = ["read"]
    path = "/public"
"#;

fn serve(trusted: &str, more: &str) -> Running {
    serve_auth(&format!("[client_cert]\ntrusted = {trusted}\n{more}"), RULES)
}

#[test]
fn a_certificate_is_known_by_its_fingerprint() {
    // PROTOCOL I36
    let known = format!(
        "[[client_cert.known]]\nsha256 = \"{}\"\nclaims = {{ sub = \"press-7\" }}",
        sha256(&certificate(7))
    );
    let server = serve("[\"10.0.0.0/8\", \"127.0.0.0/8\"]", &known);
    let subject = "201\nHalfping-Subject: press-7";
    check(&server, "PUT /machines/press-7\n\n1", &header(7), subject);
    let name = format!("cert:{}", sha256(&certificate(8)));
    let put = format!("PUT /machines/{name}\n\n1");
    check(&server, &put, &header(8), &format!("201\nHalfping-Subject: {name}"));
    check(&server, "GET /machines/press-7", &header(8), "403 forbidden");
    check(&server, "GET /machines/press-7", NOBODY, "401 unauthorized");
    // A token says more of who asks than the connection that it came on.
    let both = format!("{}\n{}", bearer(&token("u1")), header(7));
    check(&server, "PUT /machines/u1\n\n1", &both, "201\nHalfping-Subject: u1");
    let both = format!("{}\n{}", bearer("junk"), header(7));
    check(&server, "GET /machines/press-7", &both, "401 unauthorized");
    for wrong in [
        "Client-Cert: MAMCAQE=".to_owned(),
        "Client-Cert: :MAMCAQ:".to_owned(),
        "Client-Cert: ::".to_owned(),
        format!("{}\n{}", header(7), header(7)),
        format!("{}, {}", header(7), &header(7)["Client-Cert: ".len()..]),
    ] {
        check(&server, "GET /public", &wrong, "400 bad-header");
    }
    check(&server, "GET /_health", "Client-Cert: x", "200");
    // Browsers add certificates to the requests of any page.
    let page = format!("{}\nOrigin: https://evil.example", header(7));
    check(&server, "PUT /machines/press-7\n\n2", &page, "403 forbidden-origin");
}

#[test]
fn from_an_address_that_is_not_trusted_it_says_nothing() {
    // PROTOCOL I36
    for trusted in ["[\"127.0.0.2\"]", "[\"10.0.0.0/8\", \"::1\"]"] {
        let server = serve(trusted, "");
        let name = format!("cert:{}", sha256(&certificate(8)));
        let put = format!("PUT /machines/{name}\n\n1");
        check(&server, &put, &header(8), "401 unauthorized\n!Halfping-Subject");
        check(&server, "GET /public", "Client-Cert: x", "404 not-found\n!Halfping-Subject");
    }
    // Nor does it where the configuration has no such section.
    let server = serve_auth("", RULES);
    check(&server, "GET /machines/x", &header(8), "401 unauthorized\n!Halfping-Subject");
}

#[test]
fn only_known_certificates_let_somebody_in_where_that_is_asked_for() {
    // PROTOCOL I36
    let fingerprint = sha256(&certificate(7)).to_uppercase();
    let pairs: Vec<&str> = (0..32).map(|place| &fingerprint[2 * place..2 * place + 2]).collect();
    let known = format!(
        "only_known = true\n[[client_cert.known]]\nsha256 = \"{}\"\nclaims = {{ roles = [\"m\"] }}",
        pairs.join(":")
    );
    let server = serve("[\"127.0.0.1\"]", &known);
    let name = format!("cert:{}", fingerprint.to_lowercase());
    let put = format!("PUT /machines/{name}\n\n1");
    check(&server, &put, &header(7), &format!("201\nHalfping-Subject: {name}"));
    check(&server, "GET /public", &header(8), "401 unauthorized");
    let answer = ask(&server, &format!("GET /machines/{name}"), &header(7));
    assert_eq!(answer.json(), json!(1));
}

#[test]
fn a_certificate_that_is_not_known_any_more_ends_what_it_opened() {
    // PROTOCOL I37
    let known = |of: u8| {
        let sha256 = sha256(&certificate(of));
        format!("[[client_cert.known]]\nsha256 = \"{sha256}\"\nclaims = {{ sub = \"press-7\" }}")
    };
    let settings = |trusted: &str, of: u8| {
        format!("[client_cert]\ntrusted = [{trusted:?}]\nonly_known = true\n{}", known(of))
    };
    let begin = settings("127.0.0.1", 7);
    for then in [settings("127.0.0.1", 8), settings("10.0.0.0/8", 7), String::new()] {
        let server = serve_auth(&begin, RULES);
        check(&server, "PUT /machines/press-7\n\n1", &header(7), "201");
        let mut stream = stream_of(&server, "/machines/press-7", &header(7));
        server.api.reload_auth(&auth(&begin.replace("127.0.0.1", "127.0.0.0/8"), RULES)).unwrap();
        check(&server, "PUT /machines/press-7\n\n2", &header(7), "200");
        stream.expect(&["snapshot 2"]);
        server.api.reload_auth(&auth(&then, RULES)).unwrap();
        assert_eq!(stream.next().problem.unwrap()["type"], "urn:halfping:problem:revoked");
        check(&server, "GET /machines/press-7", &header(7), "401 unauthorized");
    }
}
