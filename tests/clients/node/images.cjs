// Drives node-bigcommerce as an app would: one line of JSON with what each call gave.
const fs = require("fs");
const https = require("https");
const tls = require("tls");
const BigCommerce = require("node-bigcommerce");

const order = JSON.parse(process.env.ORDER);
const ca = fs.readFileSync(order.ca);
const agent = new https.Agent();
// The client always calls api.bigcommerce.com: its own option `agent` says where that is.
agent.createConnection = (options) =>
  tls.connect({ ...options, ca, host: "127.0.0.1", port: order.port, servername: "api.bigcommerce.com" });

async function main() {
  const client = new BigCommerce({
    clientId: "app",
    accessToken: order.token,
    storeHash: order.store_hash,
    responseType: "json",
    apiVersion: "v3",
    failOnLimitReached: true,
    agent,
  });
  const images = `/catalog/products/${order.product}/images`;
  const created = await client.post(images, { image_url: order.image_url, description: "Front" });
  const one = `${images}/${created.data.id}`;
  const told = {
    created,
    listed: await client.get(images),
    read: await client.get(one),
    changed: await client.put(one, { description: "Back", sort_order: 4 }),
    replaced: await client.put(one, { image_url: order.other_url }),
    page: await client.get(`/catalog/products?include=images&limit=5`),
    deleted: await client.delete(one),
    empty: await client.get(images),
  };
  const failures = {
    missing: () => client.get(one),
    broken: () => client.post(images, { image_url: order.broken_url }),
    nothing: () => client.post(images, {}),
  };
  for (const [name, call] of Object.entries(failures)) {
    told[name] = await call().then(
      () => "it went through",
      (error) => ({ code: error.code, body: JSON.parse(error.responseBody) }),
    );
  }
  process.stdout.write(JSON.stringify(told));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
