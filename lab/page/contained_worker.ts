/**
 * A module worker under the policy of the page that starts it, whatever headers its script comes with: one that is loaded from the network
 * has only the policy that its own response states, which is none on a host that sends no headers. It is called like the browser's, for
 * the bundler knows workers by `new Worker(new URL(…))`.
 */
class ContainedWorker extends globalThis.Worker {
  constructor(script: URL, options: WorkerOptions) {
    const start = `import ${JSON.stringify(script.href)};`;
    super(URL.createObjectURL(new Blob([start], { type: "text/javascript" })), {
      ...options,
      type: "module",
    });
  }
}

export { ContainedWorker as Worker };
