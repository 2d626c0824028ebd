import { pause } from '#libs/kernel';
import type { ViewBody } from '../../apps/server/src/views/views.dto.js';
import { bodyOf, type Api, type PageOf } from './server.js';

export type { ViewBody };

const LOOK_EVERY_MS = 50;

/** Builds a view anew and waits until queries are answered from the new build. */
export async function rebuild(admin: Api, name: string): Promise<ViewBody> {
  const begun = bodyOf(await admin.post(`/v1/views/${name}/rebuild`, {}), 202) as ViewBody;
  const build = begun.building ?? begun.active;
  for (;;) {
    const view = bodyOf(await admin.get(`/v1/views/${name}`), 200) as ViewBody;
    if (view.lastFailure?.build === build) throw new Error(view.lastFailure.problem);
    if (view.lastComparison?.built.build === build) {
      if (view.lastComparison.differing > 0) throw new Error(JSON.stringify(view.lastComparison));
      if (view.active === build) return view;
    }
    await pause(LOOK_EVERY_MS);
  }
}

interface Readings {
  /** How many answers there were. */
  readonly reads: number;
  /** Every answer that was not the one that the same question got first. */
  readonly failures: readonly string[];
}

/** A client that goes on asking the same questions of every view, and notes every answer that is another. */
export class ViewReader {
  private readonly stopping = new AbortController();
  private readonly failures: string[] = [];
  private reads = 0;
  private reading: Promise<void> = Promise.resolve();

  constructor(
    private readonly api: Api,
    private readonly approvalId: string,
  ) {}

  start(): this {
    this.reading = this.read();
    return this;
  }

  async stop(): Promise<Readings> {
    this.stopping.abort();
    await this.reading;
    return { reads: this.reads, failures: this.failures };
  }

  private async read(): Promise<void> {
    const { items } = bodyOf(await this.api.get('/v1/emails', { limit: 1 }), 200) as PageOf<{
      networkMessageId: string;
      recipientEmailAddress: string;
    }>;
    const [email] = items;
    const questions = [
      '/v1/remediations?limit=10',
      `/v1/remediations/${this.approvalId}`,
      `/v1/remediations/${this.approvalId}/log?limit=50`,
      `/v1/remediations/${this.approvalId}/log?limit=5&isSendersCopy=true`,
      '/v1/emails?limit=20',
      `/v1/emails/${email?.networkMessageId ?? ''}/${email?.recipientEmailAddress ?? ''}`,
    ];
    const first = new Map<string, string>();
    while (!this.stopping.signal.aborted) {
      for (const question of questions) {
        const { status, text } = await this.api.get(question);
        this.reads += 1;
        const answer = `${String(status)} ${text}`;
        const known = first.get(question);
        if (status !== 200 || (known !== undefined && known !== answer)) {
          this.failures.push(`${question}: ${answer.slice(0, 500)}`);
        }
        if (known === undefined) first.set(question, answer);
      }
      await pause(0);
    }
  }
}
