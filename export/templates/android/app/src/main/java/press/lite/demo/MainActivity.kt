package press.lite.demo

import android.Manifest
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.graphics.Matrix
import android.os.Bundle
import androidx.activity.ComponentActivity
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.compose.setContent
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.unit.dp
import androidx.compose.ui.viewinterop.AndroidView
import androidx.core.content.ContextCompat
import androidx.lifecycle.compose.LocalLifecycleOwner
import java.util.concurrent.Executors

/** The camera's image, and what the bundle's model says of its middle. */
class MainActivity : ComponentActivity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContent { MaterialTheme { WithCamera { Live() } } }
    }
}

@Composable
fun WithCamera(content: @Composable () -> Unit) {
    val context = LocalContext.current
    val has = ContextCompat.checkSelfPermission(context, Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED
    var allowed by remember { mutableStateOf(has) }
    val ask = rememberLauncherForActivityResult(ActivityResultContracts.RequestPermission()) { allowed = it }
    LaunchedEffect(Unit) { if (!allowed) ask.launch(Manifest.permission.CAMERA) }
    if (allowed) content() else Text("The camera is needed to show the model at work.", Modifier.padding(24.dp))
}

@Composable
fun Live() {
    val context = LocalContext.current
    val owner = LocalLifecycleOwner.current
    val classifier = remember { Classifier(context) }
    val worker = remember { Executors.newSingleThreadExecutor() }
    var answers by remember { mutableStateOf(listOf<Pair<String, Float>>()) }
    var milliseconds by remember { mutableStateOf(0f) }
    DisposableEffect(Unit) {
        onDispose {
            worker.execute { classifier.close() }
            worker.shutdown()
        }
    }
    Box(Modifier.fillMaxSize()) {
        AndroidView(factory = { view ->
            PreviewView(view).also { preview ->
                val provider = ProcessCameraProvider.getInstance(view)
                provider.addListener({
                    val analysis = ImageAnalysis.Builder()
                        .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                        .build()
                    analysis.setAnalyzer(worker) { frame ->
                        frame.use {
                            val image = upright(it)
                            val started = System.nanoTime()
                            answers = classifier.classify(image)
                            milliseconds = (System.nanoTime() - started) / 1e6f
                        }
                    }
                    val shown = Preview.Builder().build().also { it.setSurfaceProvider(preview.surfaceProvider) }
                    provider.get().unbindAll()
                    provider.get().bindToLifecycle(owner, CameraSelector.DEFAULT_BACK_CAMERA, shown, analysis)
                }, ContextCompat.getMainExecutor(view))
            }
        }, modifier = Modifier.fillMaxSize())
        Surface(Modifier.align(Alignment.BottomCenter).fillMaxWidth()) {
            Column(Modifier.padding(16.dp)) {
                for ((label, probability) in answers) {
                    Text("$label  ${(100 * probability).toInt()} %")
                    LinearProgressIndicator(progress = { probability }, modifier = Modifier.fillMaxWidth())
                }
                Text("%.1f ms".format(milliseconds), style = MaterialTheme.typography.labelSmall)
            }
        }
    }
}

/** The middle square of a camera image, turned as the phone is held. */
fun upright(image: ImageProxy): Bitmap {
    val whole = image.toBitmap()
    val side = minOf(whole.width, whole.height)
    val turn = Matrix().apply { postRotate(image.imageInfo.rotationDegrees.toFloat()) }
    return Bitmap.createBitmap(whole, (whole.width - side) / 2, (whole.height - side) / 2, side, side, turn, true)
}
