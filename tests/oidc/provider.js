// An OpenID Connect provider for the tests, over TLS: oidc-provider with its own sign-in forms.
//
// Usage: node provider.js; takes its configuration as JSON on standard input, and says on standard output when it listens.
// POST /control changes how it answers: {claims: ...} are put over those of ID tokens, {rotate: true} gives it new keys,
// {algorithm: "none"} has them signed by nobody, {redirect_uri: ...} lets a leader be the client. It tells the last ID token.

import { readFileSync } from "node:fs";
import https from "node:https";
import * as jose from "jose";
import Provider from "oidc-provider";

const given = JSON.parse(readFileSync(0, "utf8"));
const redirectUris = new Set();
let control = {};
let lastToken = "";
let provider;
let key;

async function start(number) {
  const pair = await jose.generateKeyPair("RS256", { extractable: true });
  const jwk = { ...(await jose.exportJWK(pair.privateKey)), kid: `key-${number}`, alg: "RS256", use: "sig" };
  key = { private: pair.privateKey, kid: jwk.kid };
  provider = new Provider(given.issuer, {
    clients: given.clients,
    jwks: { keys: [jwk] },
    cookies: { keys: ["for the tests"] },
    scopes: ["openid", "profile", "email", "groups"],
    claims: { openid: ["sub"], profile: ["preferred_username", "name"], email: ["email"], groups: ["groups"] },
    features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Grant: 600, Session: 600 },
    pkce: { required: () => true },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        preferred_username: id,
        email: `${id}@example.org`,
        ...(given.groups[id] ? { groups: given.groups[id] } : {}),
      }),
    }),
  });
  // The port of a leader is known only when it runs.
  provider.Client.prototype.redirectUriAllowed = (uri) => redirectUris.has(uri);
  provider.use(async (context, next) => {
    await next();
    if (context.path === "/token" && context.body?.id_token) context.body.id_token = await changed(context.body.id_token);
    if (context.path === "/me" && control.userinfo) context.body = { ...context.body, ...control.userinfo };
  });
}

async function changed(token) {
  lastToken = token;
  if (control.token) return control.token;
  if (!control.claims && !control.algorithm && !control.key) return token;
  const claims = { ...jose.decodeJwt(token), ...control.claims };
  for (const [name, value] of Object.entries(claims)) if (value === null) delete claims[name];
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  if (control.algorithm === "none") return `${part({ alg: "none" })}.${part(claims)}.`;
  if (control.algorithm === "HS256") {
    const secret = new TextEncoder().encode(given.clients[0].client_secret);
    return new jose.SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(secret);
  }
  const signer = control.key === "other" ? (await jose.generateKeyPair("RS256")).privateKey : key.private;
  return new jose.SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: key.kid }).sign(signer);
}

async function answer(request, response) {
  if (request.url !== "/control") return provider.callback()(request, response);
  let text = "";
  for await (const part of request) text += part;
  control = JSON.parse(text);
  if (control.redirect_uri) redirectUris.add(control.redirect_uri);
  if (control.rotate) await start(Date.now());
  response.end(JSON.stringify({ id_token: lastToken }));
}

await start(1);
const server = https.createServer({ key: given.key, cert: given.certificate }, answer);
server.listen(given.port, "127.0.0.1", () => console.log("listening"));
