// A certified OpenID provider (https://openid.net/certification/) for the sign-in test. Start
// it with node provider.mjs REDIRECT_URI. It prints its address when it listens on loopback,
// and ends when its standard input does.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirect] = process.argv.slice(2);
const people = {
  ada: { name: 'Ada Lovelace', email: 'Ada@Corp.example', email_verified: true, groups: ['agents', 'staff'] },
  eve: { name: 'Eve', email: 'eve@corp.example', email_verified: true, groups: ['staff'] },
  bob: { name: 'Bob', email: 'bob@corp.example', email_verified: false, groups: ['agents'] },
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'bridge',
      client_secret: "the client's secret + more",
      redirect_uris: [redirect],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    }],
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    ttl: { AccessToken: 5, RefreshToken: 3600, Grant: 3600, IdToken: 300, Session: 3600, Interaction: 300 },
    pkce: { required: () => true, methods: ['S256'] },
    claims: {
      openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'],
    },
    cookies: { keys: ['of one run'] },
    findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
process.stdin.resume().on('end', () => process.exit(0));
