// Which version of a list has changed in place, and what is remembered of its content.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AspiredError } from 'aspired';
import { checkList } from '#lib/manager/aspired-list.js';
import { Contents } from '#lib/manager/contents.js';
import { coded } from '../sources/support.js';

const loader = { load: () => 'servable' };

/** A list of one servable, as the manager has it: version to digest. */
function listOf(digests: Readonly<Record<number, string | undefined>>) {
  const versions = Object.entries(digests).map(([version, digest]) => {
    const item = { version: Number(version), loader };
    return digest === undefined ? item : { ...item, digest };
  });
  return checkList('m', versions);
}

test('what is seen first is new, the same digest is the same, another one has changed', () => {
  const contents = new Contents();
  assert.deepEqual(contents.compare('m', listOf({ 1: 'a', 2: 'b' }), 'reload'), ['new', 'new']);
  assert.deepEqual(contents.compare('m', listOf({ 1: 'a', 2: 'c', 3: 'd' }), 'reload'), ['same', 'changed', 'new']);
  assert.deepEqual(contents.compare('n', listOf({ 1: 'z' }), 'reload'), ['new'], 'servables have nothing in common');
});

test('reload accepts the change, refuse goes on to compare with what was accepted', () => {
  const contents = new Contents();
  contents.compare('m', listOf({ 1: 'a' }), 'refuse');
  for (let i = 0; i < 2; i++) assert.deepEqual(contents.compare('m', listOf({ 1: 'b' }), 'refuse'), ['changed']);
  assert.deepEqual(contents.compare('m', listOf({ 1: 'b' }), 'reload'), ['changed']);
  assert.deepEqual(contents.compare('m', listOf({ 1: 'b' }), 'reload'), ['same']);
});

test('without a digest in one of the lists nothing has changed, and what was accepted stays known', () => {
  const contents = new Contents();
  const none = { 1: undefined };
  assert.deepEqual(contents.compare('m', listOf(none), 'reload'), ['new']);
  assert.deepEqual(contents.compare('m', listOf({ 1: 'a' }), 'reload'), ['same'], 'there was none before');
  assert.deepEqual(contents.compare('m', listOf(none), 'reload'), ['same'], 'there is none now');
  assert.deepEqual(contents.compare('m', listOf({ 1: 'b' }), 'reload'), ['changed'], 'the first one was a');
});

test('an item in error has no content: what is loaded is not replaced by an error', () => {
  const contents = new Contents();
  contents.compare('m', listOf({ 1: 'a' }), 'reload');
  const failed = checkList('m', [{ version: 1, error: new Error('no loader'), digest: 'b' }]);
  assert.deepEqual(contents.compare('m', failed, 'reload'), ['same']);
  assert.deepEqual(contents.compare('m', listOf({ 1: 'b' }), 'reload'), ['changed']);
});

test('a refused change is told once per digest, and shown while it stands', () => {
  const contents = new Contents();
  const id = { name: 'm', version: 1 };
  contents.compare('m', listOf({ 1: 'a' }), 'refuse');
  assert.equal(contents.refusalOf('m', 1), undefined);
  const error = contents.refuse(id, 'b') as AspiredError;
  coded('ERR_CONTENT_CHANGED', 'FAILED_PRECONDITION')(error);
  assert.deepEqual(error.servable, id);
  assert.equal(contents.refuse(id, 'b'), undefined, 'not again');
  assert.equal(contents.refusalOf('m', 1), error);
  coded('ERR_CONTENT_CHANGED')(contents.refuse(id, 'c'));
  assert.deepEqual(contents.compare('m', listOf({ 1: 'a' }), 'refuse'), ['same']);
  assert.equal(contents.refusalOf('m', 1), undefined, 'the directory is as it was');
});

test('a failed version that is let start anew has accepted its new content', () => {
  const contents = new Contents();
  contents.compare('m', listOf({ 1: 'a' }), 'refuse');
  contents.refuse({ name: 'm', version: 1 }, 'b');
  assert.deepEqual(contents.compare('m', listOf({ 1: 'b' }), 'refuse'), ['changed']);
  contents.accept('m', 1, 'b');
  assert.equal(contents.refusalOf('m', 1), undefined);
  assert.deepEqual(contents.compare('m', listOf({ 1: 'b' }), 'refuse'), ['same']);
});

test('a version is remembered while no list names it, until it is forgotten', () => {
  const contents = new Contents();
  contents.compare('m', listOf({ 1: 'a', 2: 'x' }), 'refuse');
  contents.compare('m', listOf({ 2: 'x' }), 'refuse');
  assert.deepEqual(contents.compare('m', listOf({ 1: 'b', 2: 'x' }), 'refuse'), ['changed', 'same']);
  contents.forget('m', 1);
  assert.deepEqual(contents.compare('m', listOf({ 1: 'b', 2: 'x' }), 'refuse'), ['new', 'same']);
  contents.forget('m', 1);
  contents.forget('m', 1);
  contents.forget('m', 2);
  assert.equal(contents.refuse({ name: 'm', version: 2 }, 'y'), undefined, 'nothing is refused of what is not known');
  assert.deepEqual(contents.compare('m', listOf({ 2: 'y' }), 'refuse'), ['new']);
});

for (const digest of ['', 7, null, {}]) {
  test(`a digest that is no name of a content is refused: ${JSON.stringify(digest)}`, () => {
    assert.throws(() => checkList('m', [{ version: 1, loader, digest }]), coded('ERR_INVALID_ARGUMENT'));
  });
}
