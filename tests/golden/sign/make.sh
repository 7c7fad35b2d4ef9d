#!/usr/bin/env bash
# Keys of every kind that somebody may hand to `heirloom sign` or `verify`, by openssl (3.0 or newer). They protect nothing: they are published here.
# A signature that openssl made of a statement in DSSE's encoding, which heirloom has to take: `signed.json`.
set -euo pipefail
cd "$(dirname "$0")"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256.pem
openssl pkey -in p256.pem -pubout -out p256.pub
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem
openssl pkey -in other.pem -pubout -out other.pub
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem
openssl pkey -in p384.pem -pubout -out p384.pub
openssl genpkey -algorithm ED25519 -out ed25519.pem
openssl pkey -in ed25519.pem -pubout -out ed25519.pub
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem
openssl pkey -in rsa.pem -pubout -out rsa.pub
openssl pkcs8 -topk8 -v2 aes-256-cbc -passout pass:secret -in p256.pem -out locked.pem
openssl ec -in p256.pem -out sec1.pem
type=application/vnd.in-toto+json
payload='{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"report.json","digest":{"sha256":"00"}}],"predicateType":"x","predicate":{}}'
printf 'DSSEv1 %d %s %d %s' "${#type}" "$type" "${#payload}" "$payload" > pae.tmp
sig=$(openssl dgst -sha256 -sign p256.pem pae.tmp | base64 -w0)
printf '{"payload":"%s","payloadType":"%s","signatures":[{"sig":"%s"}]}\n' "$(printf %s "$payload" | base64 -w0)" "$type" "$sig" > signed.json
rm pae.tmp
