// The certified authorization server oidc-provider, with short lives, a log of token requests and faults on demand.
// Started by tests/oidc/__init__.py with its settings as JSON in the only argument; prints its port when it listens.
//
//   GET  /test/log              what came to the token endpoint: [{grant, client, token, status, error}]
//   POST /test/faults           a list of faults, one for each of the next token requests: see `faulty`
//   POST /test/revoke           {"account": …}: take back all grants of somebody; nothing: of everybody
import Provider from 'oidc-provider';

const wish = JSON.parse(process.argv[2]);
const log = [];
let faults = [];
const grants = new Map();

const issuer = `http://localhost:${wish.port}`;
const provider = new Provider(issuer, {
  clients: [
    { client_id: 'public', token_endpoint_auth_method: 'none', application_type: 'native',
      redirect_uris: ['http://localhost', 'http://127.0.0.1'], response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'] },
    { client_id: 'secret', client_secret: 'a~b+c d&e', token_endpoint_auth_method: 'client_secret_post',
      redirect_uris: ['http://localhost/callback', 'http://localhost/oauth2/callback'], application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'] },
    { client_id: 'basic', client_secret: 'a~b+c d&e', token_endpoint_auth_method: 'client_secret_basic',
      redirect_uris: ['http://localhost/callback'], application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'] },
    ...(wish.jwks ? [{ client_id: 'certificate', token_endpoint_auth_method: 'private_key_jwt', jwks: wish.jwks,
      redirect_uris: [], response_types: [], grant_types: ['client_credentials'] }] : []),
    { client_id: 'dovecot', client_secret: 'introspect', token_endpoint_auth_method: 'client_secret_basic',
      redirect_uris: [], response_types: [], grant_types: [] },
  ],
  scopes: ['openid', 'offline_access', 'email', 'mail'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  pkce: { required: () => true },
  clientAuthMethods: ['none', 'client_secret_post', 'client_secret_basic', 'private_key_jwt'],
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async () => true },
    revocation: { enabled: true, allowedPolicy: async () => true },
  },
  issueRefreshToken: async (ctx, client, code) => code.scopes.has('offline_access'),
  rotateRefreshToken: () => wish.rotate,
  ttl: { AccessToken: () => wish.life, RefreshToken: () => 14 * 86400, Grant: () => 14 * 86400, IdToken: 600,
         Interaction: 600, Session: 3600, DeviceCode: 600, AuthorizationCode: 60, ClientCredentials: () => wish.life },
  findAccount: async (ctx, sub) => ({ accountId: sub, claims: async () => ({ sub, email: sub, email_verified: true }) }),
  cookies: { keys: ['tests only'] },
});

provider.on('grant.success', (ctx) => {
  const { Grant, Account } = ctx.oidc.entities;
  if (Grant && Account) grants.set(Grant.jti, Account.accountId);
});

// true when the fault was the answer; "late" lets the server do its work and then says nothing
async function faulty(ctx, fault) {
  if (fault.kind === 'slow') await new Promise((done) => setTimeout(done, fault.seconds * 1000));
  if (fault.kind === 'drop') { ctx.respond = false; ctx.req.socket.destroy(); return true; }
  if (fault.kind === '429') { ctx.status = 429; ctx.set('Retry-After', String(fault.seconds ?? 1)); ctx.body = 'wait'; return true; }
  if (fault.kind === '503') { ctx.status = 503; ctx.type = 'html'; ctx.body = '<html><h1>Service Unavailable</h1></html>'; return true; }
  if (fault.kind === 'empty') { ctx.status = 200; ctx.body = { token_type: 'Bearer' }; return true; }
  if (fault.kind === 'html') { ctx.status = 200; ctx.type = 'html'; ctx.body = '<html>log in to the hotspot</html>'; return true; }
  if (fault.kind === 'error') { ctx.status = fault.status ?? 400; ctx.body = fault.body; return true; }
  return false;
}

async function body(ctx) {
  let text = '';
  for await (const chunk of ctx.req) text += chunk;
  return text ? JSON.parse(text) : null;
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/test/log') { ctx.body = log; return; }
  if (ctx.path === '/test/faults') { faults = await body(ctx); ctx.body = {}; return; }
  if (ctx.path === '/test/revoke') {
    const who = (await body(ctx))?.account;
    for (const [id, account] of grants) {
      if (who && who !== account) continue;
      const grant = await provider.Grant.find(id);
      await provider.AccessToken.revokeByGrantId(id);
      await provider.RefreshToken.revokeByGrantId(id);
      if (grant) await grant.destroy();
    }
    ctx.body = {};
    return;
  }
  if (ctx.path !== '/token') { await next(); return; }
  const fault = faults.shift() ?? {};
  const entry = { at: Date.now(), fault: fault.kind };
  log.push(entry);
  if (await faulty(ctx, fault)) { entry.status = ctx.status; return; }
  await next();
  const params = ctx.oidc?.params ?? {};
  Object.assign(entry, { grant: params.grant_type, client: ctx.oidc?.client?.clientId, status: ctx.status,
                         error: ctx.body?.error });
  if (fault.kind === 'late') { ctx.respond = false; ctx.req.socket.destroy(); }
});

provider.listen(wish.port, '127.0.0.1', () => console.log(`ready ${wish.port}`));
process.stdin.on('end', () => process.exit(0)).resume();  // the test that started us is gone

