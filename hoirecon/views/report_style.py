"""Style and script of the report page; kept apart so that the page's content stays readable."""

from __future__ import annotations

STYLE = """
:root{--ink:#2b2d33;--soft:#75777e;--line:#e0ddd6;--page:#f5f4f1;--card:#fff;--accent:#3f6aa3;--warn:#b4512e}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1500px;margin:0 auto;padding:28px 28px 60px}
h1{margin:0;font-size:26px;font-weight:650;letter-spacing:-.01em}
h1::first-letter{text-transform:uppercase}
h2{margin:0 0 8px;font-size:15px;font-weight:650}
.sub{margin:2px 0 18px;color:var(--soft)}
.notes{border-left:4px solid var(--warn);background:#fbf1ec;padding:12px 18px;border-radius:6px;margin:0 0 14px}
.notes.rests{border-color:var(--line);background:var(--card)}
.notes ul{margin:0;padding-left:18px;columns:2 420px;column-gap:40px;font-size:14px}
figure{margin:0}
figcaption{color:var(--soft);font-size:13px;margin-top:6px}
.top{margin-top:20px;display:grid;grid-template-columns:minmax(0,2fr) minmax(0,3fr);gap:20px;align-items:start}
.photo{width:100%;max-height:700px;object-fit:contain;border-radius:8px;background:#eceae5;display:block;margin-top:40px}
.switches{display:flex;flex-wrap:wrap;gap:4px 16px;padding-bottom:8px;font-size:13px;color:var(--soft)}
.tabs{display:flex;align-items:center;gap:8px;height:40px;padding-bottom:8px}
.tabs button{border:1px solid var(--line);background:var(--card);color:var(--ink);border-radius:16px;padding:4px 16px;
font:inherit;font-size:14px;cursor:pointer}
.tabs button[aria-selected=true]{background:var(--accent);border-color:var(--accent);color:#fff}
.legend{margin-left:12px;color:var(--soft);font-size:13px;display:flex;gap:14px;align-items:center}
.legend[hidden]{display:none}
.key{display:inline-flex;align-items:center;gap:6px}
.key i{width:16px;height:12px;border-radius:3px}
.key input{margin:0;accent-color:var(--accent)}
.key.ghost i{opacity:.5}
.coloured-by-contact .key.part i{visibility:hidden}
.bar{display:inline-block;width:180px;height:12px;border-radius:3px}
iframe{width:100%;height:700px;border:1px solid var(--line);border-radius:8px;background:#fff;display:block}
.wide{margin-top:24px}
.wide img{max-width:100%;border-radius:8px;display:block}
.cols{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:20px;margin-top:28px;align-items:start}
.cols>div{display:grid;gap:20px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:16px 18px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:500;font-size:12.5px}
td,th{padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
td:nth-child(2){font-variant-numeric:tabular-nums}
details{margin-top:18px}
summary{cursor:pointer;color:var(--soft)}
pre,dl{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 18px;overflow-x:auto;
font-size:13px}
dt{font-weight:650}dd{margin:0 0 8px}
@media(max-width:900px){.top,.cols{grid-template-columns:minmax(0,1fr)}.photo{margin-top:0}iframe{height:60vh}}
@media print{iframe,.tabs{display:none}}
"""

# The view's client draws what its scene tree says. That tree is reached through the component that provides it, for the
# client gives no other door to a page around it; until it is found, the boxes are greyed and the client's own
# button (upper right) still shows and hides every part.
SCRIPT = """
const frame=document.getElementById('scene');
const boxes=[...document.querySelectorAll('.switches input')];
function show(name){
  frame.srcdoc=VIEW.start+VIEW.middles[name]+VIEW.end;
  for(const b of document.querySelectorAll('.tabs button'))b.setAttribute('aria-selected',b.dataset.view===name);
  for(const l of document.querySelectorAll('.legend'))l.hidden=!l.classList.contains(name);
  for(const b of boxes)b.disabled=true;
  document.querySelector('.view').classList.toggle('coloured-by-contact',name==='contact');
}
function viewer(){
  const root=frame.contentDocument&&frame.contentDocument.getElementById('root');
  const key=root&&Object.keys(root).find(k=>k.startsWith('__reactContainer'));
  const queue=key?[root[key].stateNode.current]:[];
  while(queue.length){
    const part=queue.pop(),value=part.memoizedProps&&part.memoizedProps.value;
    if(value&&value.sceneTreeActions)return value;
    for(const next of [part.sibling,part.child])if(next)queue.push(next);
  }
}
function apply(found){
  const nodes=found.useSceneTree.getAll();
  for(const b of boxes)if(nodes[b.dataset.node])
    found.sceneTreeActions.updateNodeAttributes(b.dataset.node,{overrideVisibility:b.checked});
}
function reach(watcher){
  const found=viewer();
  if(!found)return;
  watcher.disconnect();
  for(const b of boxes){
    b.disabled=false;
    b.onchange=()=>apply(found);
    found.useSceneTree.subscribe(b.dataset.node,()=>queueMicrotask(()=>apply(found)));
  }
  apply(found);
}
for(const b of document.querySelectorAll('.tabs button'))b.addEventListener('click',()=>show(b.dataset.view));
frame.addEventListener('load',()=>{
  const watcher=new MutationObserver(()=>reach(watcher));
  watcher.observe(frame.contentDocument,{childList:true,subtree:true});
  reach(watcher);
});
show('parts');
"""
