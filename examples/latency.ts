/** A table of what models cost: parameters, MACs, and the latency of encoder and mask, measured in turns. */
import { type Latency, measureLatencies } from '@slimsam/eval';
import { countMacs, countParameters } from '@slimsam/prune';
import { createPredictor, encoderCosts, loadSam } from '@slimsam/vit';
import Table from 'cli-table3';
import { Command } from 'commander';
import { openBackend, parse } from 'slimsam/node';

const program = new Command('latency')
  .description('parameters, MACs and latency of SAMs, measured in turns')
  .argument('[models...]', 'SAMs', ['examples/teacher/teacher.safetensors', 'apps/page/models/slim.safetensors'])
  .option('--repeats <n>', 'rounds', parse.positiveInteger, 10)
  .parse();
const { repeats } = program.opts<{ repeats: number }>();

const backend = await openBackend('webgpu');
try {
  const image = { width: 320, height: 240, data: new Uint8Array(320 * 240 * 3).fill(120) };
  const runs = new Map<string, () => Promise<unknown>>();
  const costs = new Map<string, string[]>();
  for (const file of program.processedArgs[0] as string[]) {
    const { weights, config } = await loadSam(file);
    const predictor = createPredictor(weights, config);
    runs.set(`${file} encoder`, async () => {
      const embedded = predictor.embed(image);
      await embedded.embedding.data();
      embedded.dispose();
    });
    const kept = predictor.embed(image);
    runs.set(`${file} mask`, async () => (await predictor.predict(kept, { points: [[160, 120]] })).dispose());
    const { paperMacs } = countMacs(weights, encoderCosts(weights, config));
    costs.set(file, [countParameters(weights).toLocaleString('en'), (paperMacs / 1e9).toFixed(3)]);
  }
  const latencies = await measureLatencies(runs, { warmup: 2, repeats });
  const text = ({ median, p95 }: Latency) => `${median.toFixed(1)} (${p95.toFixed(1)})`;
  const style = { head: [], border: [] }; // no colours, which would go into files too
  const head = ['model', 'parameters', 'MACs, G', 'encoder, ms (95 %)', 'mask, ms (95 %)'];
  const table = new Table({ head, style });
  for (const [file, cells] of costs)
    table.push([file, ...cells, text(latencies.get(`${file} encoder`)!), text(latencies.get(`${file} mask`)!)]);
  console.log(`on ${backend.adapter}\n${table}`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  backend.close();
}
