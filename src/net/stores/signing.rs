//! How a request to a store is signed: the crate `object_store` is asked for what is wanted, and its request is taken before it is sent. Only what it
//! asks for credentials (a token service, the metadata of a machine) is sent from here.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ClientOptions, Extensions, GetOptions, GetRange, ObjectStore, RetryConfig};
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::header::HeaderMap;

use super::{Bucket, Kind, NetError, Url, Wanted};

/// Longest that whoever gives credentials may take.
const CREDENTIALS: Duration = Duration::from_secs(20);
/// The same on a machine's own network, where nobody may be.
const METADATA: Duration = Duration::from_secs(3);
/// Most bytes of credentials.
const MOST: u64 = 1 << 20;

/// A store with the credentials of the environment.
pub(crate) struct Store {
    address: String,
    anonymous: bool,
    vendor: Vendor,
    taken: Taken,
    /// One request after the other: what is taken is of the one that was asked for.
    turn: Mutex<()>,
}

enum Vendor {
    Aws(Box<AmazonS3>),
    Google(Box<GoogleCloudStorage>),
    Azure(Box<MicrosoftAzure>),
}

/// The request that was taken.
type Taken = Arc<Mutex<Option<(String, HeaderMap)>>>;

/// What marks a request that is taken.
#[derive(Clone)]
struct Take;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

impl Store {
    /// Opens a bucket. Nothing is sent.
    pub fn open(bucket: &Bucket, client: ClientBuilder) -> Result<Self, NetError> {
        let address = bucket.address();
        usable(&address)?;
        let client = client.timeout(CREDENTIALS).build();
        let client = client.map_err(|error| NetError::new(Kind::Usage, &address, super::super::error::cause(&error)))?;
        let taken = Taken::default();
        let wire = Wire { client, taken: Arc::clone(&taken) };
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let said = |named: &Option<String>| named.clone();
        let (vendor, anonymous) = match bucket.scheme {
            "gs" => {
                let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&bucket.name);
                if let Some(endpoint) = said(&bucket.endpoint) {
                    builder = builder.with_base_url(&endpoint);
                }
                if bucket.anonymous {
                    builder = builder.with_skip_signature(true);
                }
                let anonymous = is_on(builder.get_config_value(&GoogleConfigKey::SkipSignature));
                let built = builder.with_retry(retry).with_http_connector(wire).build();
                (built.map(|store| Vendor::Google(Box::new(store))), anonymous)
            }
            "az" => {
                let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(&bucket.name);
                if let Some(account) = said(&bucket.account) {
                    builder = builder.with_account(account);
                }
                if let Some(endpoint) = said(&bucket.endpoint) {
                    builder = builder.with_endpoint(endpoint);
                }
                if bucket.anonymous {
                    builder = builder.with_skip_signature(true);
                }
                let anonymous = is_on(builder.get_config_value(&AzureConfigKey::SkipSignature));
                let built = builder.with_retry(retry).with_http_connector(wire).build();
                (built.map(|store| Vendor::Azure(Box::new(store))), anonymous)
            }
            _ => {
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(&bucket.name);
                if let Some(endpoint) = said(&bucket.endpoint) {
                    // One for S3 alone goes before one for all.
                    builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
                }
                if let Some(region) = said(&bucket.region) {
                    builder = builder.with_region(region);
                }
                if bucket.anonymous {
                    builder = builder.with_skip_signature(true);
                }
                let anonymous = is_on(builder.get_config_value(&AmazonS3ConfigKey::SkipSignature));
                let built = builder.with_retry(retry).with_http_connector(wire).build();
                (built.map(|store| Vendor::Aws(Box::new(store))), anonymous)
            }
        };
        let wrong = |error: object_store::Error| {
            let reason = match told(&error) {
                why if why.contains("Account must be specified") => {
                    "the storage account is not named: write `account` in the scan file, or set AZURE_STORAGE_ACCOUNT_NAME".to_owned()
                }
                why => format!("what the environment says of it cannot be used: {why}"),
            };
            NetError::new(Kind::Usage, &address, reason)
        };
        let vendor = vendor.map_err(wrong)?;
        Ok(Self { address, anonymous, vendor, taken, turn: Mutex::default() })
    }

    /// The request for what is wanted: its address, and the headers that go along.
    pub fn sign(&self, wanted: &Wanted) -> Result<(Url, HeaderMap), NetError> {
        let mut extensions = Extensions::new();
        extensions.insert(Take);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = match wanted {
            Wanted::List { prefix, page } => {
                let page_token = page.map(str::to_owned);
                let options = PaginatedListOptions { page_token, extensions, ..PaginatedListOptions::default() };
                let prefix = (!prefix.is_empty()).then_some(*prefix);
                match &self.vendor {
                    Vendor::Aws(store) => run(store.list_paginated(prefix, options)).err(),
                    Vendor::Google(store) => run(store.list_paginated(prefix, options)).err(),
                    Vendor::Azure(store) => run(store.list_paginated(prefix, options)).err(),
                }
            }
            Wanted::Object { key, from, tag } => {
                let no_key = |error| NetError::new(Kind::Usage, &self.address, format!("a key that is not read: {error}"));
                let path = Path::parse(key).map_err(no_key)?;
                let range = (*from > 0).then_some(GetRange::Offset(*from));
                let options = GetOptions { if_match: tag.map(str::to_owned), range, extensions, ..GetOptions::default() };
                match &self.vendor {
                    Vendor::Aws(store) => run(store.get_opts(&path, options)).err(),
                    Vendor::Google(store) => run(store.get_opts(&path, options)).err(),
                    Vendor::Azure(store) => run(store.get_opts(&path, options)).err(),
                }
            }
        };
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((url, headers)) = taken else {
            let why = failed.map(|error| told(&error)).unwrap_or_default();
            let advice = NetError::advice(Kind::Auth, &self.address).unwrap_or_default();
            let reason = format!("there are no credentials for it that can be used ({advice}): {why}");
            return Err(NetError::new(Kind::Auth, &self.address, reason));
        };
        let url = Url::parse(&url).map_err(|error| NetError::new(Kind::Usage, &self.address, error.to_string()))?;
        let here = url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
        if url.scheme() != "https" && !here && !self.anonymous {
            let reason = "its server is not encrypted, and credentials would go there: use an address with https://, or send none \
                          (`anonymous: true` in a scan file, AWS_SKIP_SIGNATURE=true for a command)";
            return Err(NetError::new(Kind::Usage, &self.address, reason));
        }
        Ok((url, headers))
    }
}

/// That no variable holds what cannot be in a header, such as the line break at the end of a mounted secret.
fn usable(address: &str) -> Result<(), NetError> {
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        if ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|start| name.starts_with(start)) && value.contains(char::is_control) {
            let reason = format!("the environment variable {name} holds a line break or another control character");
            return Err(NetError::new(Kind::Usage, address, reason));
        }
    }
    Ok(())
}

fn is_on(value: Option<String>) -> bool {
    value.is_some_and(|value| ["1", "true", "yes", "on", "y"].contains(&value.to_lowercase().as_str()))
}

/// What the crate says, in one line, and without what the environment has as a secret.
fn told(error: &object_store::Error) -> String {
    let mut last = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        last = inner.to_string();
        cause = inner.source();
    }
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        if ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|start| name.starts_with(start)) && value.len() > 5 {
            last = last.replace(&*value, &format!("${name}"));
        }
    }
    last.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// What the crate sends its requests by.
#[derive(Clone, Debug)]
struct Wire {
    client: Client,
    taken: Taken,
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Wire {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let answer = if request.extensions().get::<Take>().is_some() {
            let taken = (request.uri().to_string(), request.headers().clone());
            *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
            Err(HttpError::new(HttpErrorKind::Unknown, Told("it is sent elsewhere".to_owned())))
        } else {
            self.send(&request)
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Wire {
    /// A request for credentials.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed = |kind, why: &str| HttpError::new(kind, Told(why.to_owned()));
        let url = Url::parse(&request.uri().to_string()).map_err(|_| failed(HttpErrorKind::Unknown, "no address"))?;
        let plain = url.scheme() != "https";
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut sent = self.client.request(request.method().clone(), url).headers(request.headers().clone());
        if plain {
            sent = sent.timeout(METADATA);
        }
        let body: &HttpRequestBody = request.body();
        if let Some(bytes) = body.as_bytes() {
            sent = sent.body(bytes.to_vec());
        }
        let mut answer = sent.send().map_err(|error| {
            let why = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
            failed(HttpErrorKind::Connect, &format!("{host}, which gives them, {why}"))
        })?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut bytes = Vec::new();
        let read = std::io::copy(&mut std::io::Read::take(&mut answer, MOST), &mut bytes);
        read.map_err(|_| failed(HttpErrorKind::Interrupted, "the answer ends in the middle"))?;
        let mut response = HttpResponse::new(HttpResponseBody::from(bytes));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Wakes nobody: what is run here is through at once, or waits for a lock that another thread holds.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs what needs no runtime: all that it waits for is done on this thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(told) => return told,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(1)),
        }
    }
}
