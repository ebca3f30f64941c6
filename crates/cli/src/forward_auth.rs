//! Forward-auth: a service is asked by HTTP who sends a request, as `auth_request` of nginx and
//! `forward_auth` of Caddy and Traefik ask it.

use futures_util::future::BoxFuture;
use halfping::{AskTerms, Auth, Authenticate, Forward, Identity, Question, Unidentified};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde_json::{Map, Value};
use tracing::{info, warn};

use crate::report::{Blame, Failure};

/// Bytes of an answer that are read: claims have to be shorter.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The fields that tell the service about the request.
const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Claims that are kept whatever the settings name: who it is, and for how long.
const ALWAYS_KEPT: [&str; 4] = ["sub", "exp", "iat", "jti"];

/// The service, and how it is asked.
struct ForwardAuth {
    http: reqwest::Client,
    url: Url,
    fields: Vec<HeaderName>,
    settings: Forward,
}

/// Has the service of the settings asked about senders that nobody here knows.
pub(crate) fn asking(auth: Auth, settings: &Forward) -> Result<Auth, Failure> {
    let wrong = |why: String| Failure::new(Blame::Input, format!("[auth.forward] url: {why}"));
    let url = Url::parse(&settings.url).map_err(|error| wrong(error.to_string()))?;
    let http =
        halfping_client::http(&url, HeaderMap::new()).map_err(|error| wrong(error.to_string()))?;
    let names = settings.headers.iter();
    let fields = names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
    let asked = without_query(&url);
    if url.scheme() == "http" && !halfping_client::is_loopback(&url) {
        warn!(
            "[auth.forward] asks {asked} without TLS: whoever is on the way there can read credentials"
        );
    }
    let headers = settings.headers.join(", ");
    info!(url = asked, headers, "whoever is not known here is asked about there");
    let Forward { timeout_ms, cache_ms, stale_ms, .. } = *settings;
    let by = ForwardAuth { http, url, fields, settings: settings.clone() };
    Ok(auth.asking(by, AskTerms { timeout_ms, cache_ms, stale_ms }))
}

impl Authenticate for ForwardAuth {
    fn fields(&self) -> &[HeaderName] {
        &self.fields
    }

    fn authenticate<'q>(
        &'q self,
        question: &'q Question,
    ) -> BoxFuture<'q, Result<Identity, Unidentified>> {
        Box::pin(self.ask(question))
    }
}

impl ForwardAuth {
    async fn ask(&self, question: &Question) -> Result<Identity, Unidentified> {
        let target = question.target().path_and_query().map_or("/", |target| target.as_str());
        let request = self.http.get(self.url.clone()).headers(question.headers().clone());
        let request = request
            .header(METHOD, question.method().as_str())
            .header(URI, target)
            .header(ACCEPT, "application/json");
        let request = match question.host() {
            Some(host) => request.header(HOST, host),
            None => request,
        };
        let answer = request.send().await.map_err(|error| self.silent(error))?;
        match answer.status() {
            status if status.is_success() => self.identity(answer).await,
            StatusCode::FORBIDDEN => Err(Unidentified::Forbidden),
            // A page to log in at is where people are sent who are not logged in.
            status if status == StatusCode::UNAUTHORIZED || status.is_redirection() => {
                Err(Unidentified::Refused(answer.headers().get(WWW_AUTHENTICATE).cloned()))
            }
            status => Err(self.unusable(&format!("answers {status}"))),
        }
    }

    /// The identity that an answer names: by claims in JSON, or by fields of it.
    async fn identity(&self, mut answer: Response) -> Result<Identity, Unidentified> {
        let Forward { claims: kept, subject, lists, .. } = &self.settings;
        let text = |name: &String| {
            let value = answer.headers().get(name.as_str())?.to_str().ok()?.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        let named = subject.as_ref().and_then(text);
        let lists: Vec<(&String, Option<String>)> =
            lists.iter().map(|(claim, name)| (claim, text(name))).collect();
        let mut claims = match answer.headers().get(CONTENT_TYPE).is_some_and(is_json) {
            true => self.claims(&mut answer).await?,
            false => Map::new(),
        };
        if let Some(kept) = kept {
            claims.retain(|name, _| ALWAYS_KEPT.contains(&&**name) || kept.contains(name));
        }
        if let Some(named) = named {
            claims.insert("sub".to_owned(), named.into());
        }
        if let (Some(name), None) = (subject, claims.get("sub")) {
            return Err(
                self.unusable(&format!("lets somebody in, and does not say whom in {name}"))
            );
        }
        for (claim, value) in lists {
            let Some(value) = value else { continue };
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
            claims.insert(claim.clone(), items.collect());
        }
        Identity::vouched(claims).map_err(|error| self.unusable(&error.to_string()))
    }

    async fn claims(&self, answer: &mut Response) -> Result<Map<String, Value>, Unidentified> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.silent(error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                let why = format!("answers with more than {ANSWER_BYTES_MAX} bytes");
                return Err(self.unusable(&why));
            }
            body.extend_from_slice(&chunk);
        }
        match serde_json::from_slice(&body) {
            Ok(Value::Object(claims)) => Ok(claims),
            Ok(_) => Err(self.unusable("answers with JSON that is no object of claims")),
            Err(error) => Err(self.unusable(&format!("answers with what is no JSON: {error}"))),
        }
    }

    /// The error of a service that does not answer.
    fn silent(&self, error: reqwest::Error) -> Unidentified {
        let error = error.without_url();
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            why = format!("{why}: {error}");
            cause = error.source();
        }
        self.unusable(&format!("does not answer: {why}"))
    }

    fn unusable(&self, why: &str) -> Unidentified {
        Unidentified::Unavailable(format!("{} {why}", without_query(&self.url)))
    }
}

/// A URL as the log has it: a query may have a secret.
fn without_query(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.authority(), url.path())
}

fn is_json(content_type: &HeaderValue) -> bool {
    let text = content_type.to_str().unwrap_or_default();
    let media = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || media.ends_with("+json")
}
