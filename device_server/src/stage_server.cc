#include "stage_server.h"

#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <memory>

#include "codec.h"
#include "error.h"
#include "message.h"
#include "noise.h"
#include "weights.h"

namespace jointdnn {
namespace {

using tvm::ffi::AnyView;
using tvm::ffi::Bytes;
using tvm::ffi::Function;
using tvm::ffi::Module;
using tvm::ffi::String;

constexpr int kPooledAllocator = 2;  // VirtualMachine.POOLED_ALLOCATOR

struct Stage {
  Function function;
  std::vector<std::string> inputs, outputs;
  std::vector<tvm::ffi::Tensor> weights;
};

Function Get(const Module& module, const std::string& name) {
  const auto function = module->GetFunction(name, /*query_imports=*/true);
  if (!function) throw Error("the library has no function '" + name + "'; build the bundle again");
  return *function;
}

// The codecs that a message's header names, by tensor.
std::map<std::string, std::string> CodecsIn(const json::Object& header) {
  std::map<std::string, std::string> codecs;
  for (const auto& [name, codec] : ObjectIn(Entry(header, "codecs"))) {
    codecs.emplace(TextIn(name), TextIn(codec));
  }
  return codecs;
}

// One side's compiled stages, and the tensors that stay here until a request ends.
class StageServer {
 public:
  StageServer(const std::filesystem::path& library, const std::filesystem::path& weights,
              const json::Array& stages) {
    const Tensors arrays = MapWeights(weights);
    const Module machine =
        Get(Module::LoadFromFile(library.string()), "vm_load_executable")().cast<Module>();
    Get(machine, "vm_initialization")(static_cast<int>(kDLCPU), 0, kPooledAllocator);
    for (const json::Value& value : stages) {
      const json::Object entry = ObjectIn(value);
      const std::string name = TextIn(Entry(entry, "name"));
      Stage stage{Get(machine, name),
                  TextsIn(Entry(entry, "inputs")),
                  TextsIn(Entry(entry, "outputs")),
                  {}};
      for (const auto& weight : TextsIn(Entry(ObjectIn(Entry(entry, "weights")), "cloud"))) {
        const auto found = arrays.find(weight);
        if (found == arrays.end()) throw Error("there is no weight '" + weight + "'");
        stage.weights.push_back(found->second);
      }
      stages_.emplace(name, std::move(stage));
    }
  }

  // Answers one crossing: runs the stage it names, returns the tensors that it wants.
  std::string Run(const std::string& bytes) {
    Message message = Message::Decode(bytes);
    const json::Value request = Entry(message.header, "request");
    const std::string name = TextIn(Entry(message.header, "stage"));
    const std::string number = json::Stringify(request);
    if (number != request_) held_.clear();
    request_ = number;
    for (auto& [tensor, content] : message.tensors) held_.insert_or_assign(tensor, content);
    RunStage(name);
    const std::string answer =
        Encode(held_, TextsIn(Entry(message.header, "wanted")), CodecsIn(message.header));
    const auto last = message.header.Get(String("last"));
    if (last && last->try_cast<bool>().value_or(false)) held_.clear();
    return answer;
  }

 private:
  void RunStage(const std::string& name) {
    const auto found = stages_.find(name);
    if (found == stages_.end()) throw Error("there is no stage '" + name + "' here");
    const Stage& stage = found->second;
    std::vector<AnyView> arguments;
    for (const std::string& input : stage.inputs) {
      const auto tensor = held_.find(input);
      if (tensor == held_.end()) {
        throw Error("stage '" + name + "' was called without tensor '" + input + "'");
      }
      arguments.emplace_back(tensor->second);
    }
    for (const auto& weight : stage.weights) arguments.emplace_back(weight);
    tvm::ffi::Any result;
    stage.function.CallPacked(arguments.data(), static_cast<int>(arguments.size()), &result);
    const auto made = result.cast<tvm::ffi::Array<tvm::ffi::Tensor>>();
    if (made.size() != stage.outputs.size()) throw Error("stage '" + name + "' is another one");
    for (size_t i = 0; i < stage.outputs.size(); ++i) {
      held_.insert_or_assign(stage.outputs[i], made[static_cast<int64_t>(i)]);
    }
  }

  std::map<std::string, Stage> stages_;
  std::string request_;
  Tensors held_;
};

// Answers as a stage would that takes no time, with as many bytes as the header wants.
std::string Exchange(const std::string& bytes) {
  const Message message = Message::Decode(bytes);
  const std::vector<int64_t> shape = SizesIn(json::Array{Entry(message.header, "answer_bytes")});
  const TensorType type = TensorType::Parse("uint8", shape);
  if (type.SizeBytes() > kMostNoiseBytes) throw Error("nobody wants so many bytes");
  std::string content;
  while (content.size() < type.SizeBytes()) content += Noise();
  return Encode({{"answer", CopyOf(type, content.data())}}, {"answer"});
}

}  // namespace

void RegisterStages(std::function<std::filesystem::path(const std::string&)> find) {
  const auto server = std::make_shared<std::unique_ptr<StageServer>>();
  const auto open = [=](String text) {
    const json::Object document = ObjectIn(ParseJson(text));
    const std::string version = TextIn(Entry(document, "tvm"));
    if (version != TVM_VERSION) {
      throw Error("the bundle was built with TVM " + version + ", and this machine has " +
                  TVM_VERSION + "; build the bundle again, or this server");
    }
    for (const std::string& codec : TextsIn(Entry(document, "codecs"))) {
      if (HasCodec(codec)) continue;
      throw Error("this device server has no codec '" + codec.substr(0, 40) +
                  "'; measure with it for a bundle without, or start `jointdnn device`");
    }
    *server = std::make_unique<StageServer>(find(TextIn(Entry(document, "library"))),
                                            find(TextIn(Entry(document, "weights"))),
                                            ListIn(Entry(document, "stages")));
  };
  const auto run = [=](Bytes message) {
    if (!*server) throw Error("no stages are open in this session; open them first");
    return Bytes((*server)->Run(std::string(message.data(), message.size())));
  };
  const auto exchange = [](Bytes message) {
    return Bytes(Exchange(std::string(message.data(), message.size())));
  };
  const auto time = [](String codec, int64_t count, double shortest_s) {
    return String(TimeCodec(codec, count, shortest_s));
  };
  Function::SetGlobal("jointdnn.time_codec", Function::FromTyped(time), /*override=*/true);
  Function::SetGlobal("jointdnn.exchange", Function::FromTyped(exchange), /*override=*/true);
  Function::SetGlobal("jointdnn.open_stages", Function::FromTyped(open), /*override=*/true);
  Function::SetGlobal("jointdnn.run_stage", Function::FromTyped(run), /*override=*/true);
}

}  // namespace jointdnn
